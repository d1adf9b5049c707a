"""Fill a folder with runs as training would leave them, quickly: for measuring what reads them.

`python -m benchmarks.make_store FOLDER --runs 100 --steps 30000 --sources 6`
Rows go through the real writer; vectors are random walks, decided by the real rule. Results note
what training notes, e.g. the run's health.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from dtvg.config import ExperimentConfig, RunConfig, build_config
from dtvg.records import RunState
from dtvg.store.files import read_json, replace_json
from dtvg.store.health import Guess, marks, signs_of
from dtvg.store.layout import RunDir, create_experiment
from dtvg.store.reader import open_run
from dtvg.store.shares import shares_in_log
from dtvg.store.writer import CohortWriter, RunWriter
from dtvg.testing import made_runs

NAMES = ("sst2", "mnli", "qnli", "qqp", "mrpc", "cola", "boolq", "multirc", "wic", "wsc", "record")
CHUNK = 5000
"""Steps between commits."""


def experiment(name: str, runs: int, steps: int, sources: int) -> ExperimentConfig:
    """Return an experiment of at least that many runs: DTVG and all sources by seeds."""
    seeds = max(1, -(-runs // 2))
    return build_config(
        {
            "name": name,
            "sources": list(NAMES[:sources]),
            "targets": ["rte"],
            "methods": ["dtvg", "all_sources"],
            "seeds": list(range(seeds)),
            "optim": {"steps": steps},
            "evaluation": {"every": max(1, steps // 30)},
        }
    )


def write_chunk(writer: RunWriter, run: RunConfig, first: int, grams: np.ndarray) -> None:
    """Give a stretch of steps to the writer."""
    count = len(grams)
    rng = np.random.default_rng([run.seed, first])
    step = np.arange(first, first + count)
    made_runs.write_steps(
        writer,
        run,
        step,
        grams,
        seconds=step * 0.1,
        loss=(2 / np.sqrt(step) + rng.normal(scale=0.1, size=count)).astype(np.float32),
        grad_norm=rng.random(count).astype(np.float32),
        lr_scale=np.full(count, 1e-3, dtype=np.float32),
        lr_scale_target=np.full(count, 1e-3, dtype=np.float32),
        tokens=np.full(count, 400, dtype=np.int32),
        step_ms=np.full(count, 100, dtype=np.float32),
    )


def write_evals(writer: RunWriter, run: RunConfig, steps: int) -> float:
    """Give evaluations to the writer; return the best score."""
    at = [*range(0, steps + 1, run.evaluation.every)]
    rng = np.random.default_rng(run.seed)
    value = np.clip(0.5 + 0.3 * np.sqrt(np.array(at) / steps) + rng.normal(0, 0.02, len(at)), 0, 1)
    scores = {step: {"score": float(v)} for step, v in zip(at, value, strict=True)}
    made_runs.write_evals(writer, run, "validation", scores, 200)
    made_runs.write_evals(writer, run, "test", {at[-1]: scores[at[-1]]}, 200)
    return float(value.max())


def make(folder: Path, name: str, runs: int, steps: int, sources: int, distinct: int = 4) -> None:
    """Write an experiment; beyond `distinct` seeds, runs are copies of the first ones' rows.

    Args:
        folder: of experiments.
        name: the experiment's.
        runs: how many.
        steps: of each.
        sources: of each.
        distinct: seeds whose rows are made again; the rest copies their files.
    """
    config = experiment(name, runs, steps, sources)
    directory = create_experiment(config, folder)
    configs = config.runs()[:runs]
    for run in config.runs()[runs:]:
        shutil.rmtree(directory.run(run.name).path)
    first: dict[tuple[str, int], Path] = {}
    for run in configs:
        place = directory.run(run.name)
        key = (run.method.name, run.seed % distinct)
        if key in first:
            for part in ("steps", "sources", "evals", "thinned", "result.json"):
                if (first[key] / part).is_dir():
                    shutil.copytree(first[key] / part, place.path / part)
                elif (first[key] / part).exists():
                    shutil.copy(first[key] / part, place.path / part)
            of = (read_json(first[key] / "provenance.json") or {}).get("run_id")
            told = {**(read_json(place.provenance_path) or {}), "run_id": of}  # whose rows they are
            replace_json(place.provenance_path, told, durable=False)
        else:
            _record(directory.cohort(f"made-{run.seed:03d}").path.name, directory, place, run)
            first[key] = place.path
        status: dict[str, Any] = {**(read_json(place.status_path) or {}), "step": steps}
        result = read_json(place.result_path) or {}
        status |= {"state": RunState.FINISHED.value, "score": result.get("validation_score")}
        replace_json(place.status_path, status, durable=False)


def _record(cohort: str, directory: Any, place: RunDir, run: RunConfig) -> None:
    """Write one run through the real writer, with commits, compaction and a result."""
    writer = RunWriter(place, run)
    commits = CohortWriter(directory.cohort(cohort), {run.name: writer})
    steps = run.total_steps
    rng = np.random.default_rng(run.seed)
    grams = made_runs.walking_grams(rng, steps, len(run.sources), 2.0 / np.sqrt(steps))
    for start in range(0, steps, CHUNK):
        write_chunk(writer, run, start + 1, grams[start : start + CHUNK])
        commits.commit(commits.snapshot({}, {}))
    best = write_evals(writer, run, steps)
    commits.commit(commits.snapshot({}, {}))
    guess = Guess(0.5, 200, 0.5, 200)
    made = open_run(place.path)
    signs, shares = signs_of(made), shares_in_log(made)
    told = marks(signs, True, steps, guess=guess, test_score=best)
    noted = {"health": {m.kind: m.sentence for m in told}, "guessing": guess._asdict()}
    cost = {"seconds": steps * 0.1, "trained_parameters": 1000, "at_best": signs.at_best}
    writer.finish(
        made_runs.result_of(steps, best, best, {"score": best}, extra=noted, shares=shares, **cost)
    )


def main() -> None:
    """Make one experiment and say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--name", default="big")
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--steps", type=int, default=30_000)
    parser.add_argument("--sources", type=int, default=6)
    options = parser.parse_args()
    started = time.perf_counter()
    make(options.folder, options.name, options.runs, options.steps, options.sources)
    size = sum(p.stat().st_size for p in options.folder.rglob("*") if p.is_file()) / 2**20
    print(f"{options.runs} runs x {options.steps} steps in {time.perf_counter() - started:.1f} s, "
          f"{size:.0f} MiB")  # fmt: skip


if __name__ == "__main__":
    main()
