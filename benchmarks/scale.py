"""From one process to many: what is gained, what it costs, how full the slots get.

    python -m benchmarks.scale [--parts a b c d] [--seeds 0 1] [--executors inline local ray slurm]

Prints each row and keeps it in benchmarks/results/scale-<date>.md.

(a) two local workers against one, one thread each; (b) what each executor adds per cohort; (c) the
real scheduler on 256 simulated slots; (d) overview and fleet of 10,000 runs in 1,000 cohorts.
"""

from __future__ import annotations

import argparse
import logging
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.results import FOLDER, Results
from dtvg.analysis.overview.fleet import fleet_info
from dtvg.config import ExperimentConfig, ScaleConfig, build_config
from dtvg.errors import DtvgError
from dtvg.plan.stored import keep_plan
from dtvg.scale import driver
from dtvg.scale.scheduler import Piece
from dtvg.scale.simulation import Faults, Simulation, bound, least_time, many_pieces
from dtvg.scale.simulation import run as simulate
from dtvg.store.bank import PromptBank
from dtvg.store.files import read_json, replace_json
from dtvg.store.layout import ExperimentDir, create_experiment
from dtvg.store.processes import this_process
from dtvg.store.reader import list_experiments, open_experiment

TITLES = {
    "a": "Local workers, one thread each: the whole from start to end, and while cohorts train.",
    "b": "What an executor adds: cohorts of two steps, seconds from the start of a job.",
    "c": "The scheduler on simulated slots. Allowed: the least time that any schedule needs.",
    "d": "Seconds in which the tables of fleet and overview of a large experiment are read.",
}
Note = Callable[[str, str, Mapping[str, Any]], None]
"""Part, what was measured and its row: printed, and kept at once."""


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--parts", nargs="+", default=["a", "b", "c", "d"], choices=["a", "b", "c", "d"]
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--executors", nargs="+", default=["inline", "local", "ray", "slurm"])
    parser.add_argument("--steps", type=int, default=200, help="of (a)")
    parser.add_argument("--runs", type=int, default=10_000, help="of (c) and (d)")
    parser.add_argument(
        "--cohorts",
        type=int,
        nargs="+",
        default=[1_000],
        help="of (c), before the last ones are cut finer",
    )
    parser.add_argument("--slots", type=int, default=256, help="of (c)")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the tables")
    given = parser.parse_args(argv)
    logging.getLogger("dtvg.scale").setLevel(logging.ERROR)
    facts = machine.facts()
    print(", ".join(f"{k} {v}" for k, v in facts.items()))
    results = Results(given.out, f"scale-{facts['date'][:10]}", TITLES)

    def note(part: str, key: str, row: Mapping[str, Any]) -> None:
        print(f"({part}) " + ", ".join(f"{k} {v}" for k, v in row.items()), flush=True)
        results.add(part, key, row, facts)

    folder = Path(tempfile.mkdtemp(prefix="dtvg-scale-"))
    try:
        parts: dict[str, Callable[[], None]] = {
            "a": lambda: two_workers(note, folder, given.steps),
            "b": lambda: overheads(note, folder, given.executors),
            "c": lambda: simulated(note, given.seeds, given.runs, given.cohorts, given.slots),
            "d": lambda: desk(note, folder, given.runs),
        }
        for part in given.parts:
            parts[part]()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _demo(name: str, steps: int, methods: Sequence[str], **scale: int) -> ExperimentConfig:
    return build_config(
        {
            "name": name,
            "backbone": "demo",
            "sources": ["film-mood", "meal-mood"],
            "targets": ["trip-mood", "who-sent"],
            "methods": list(methods),
            "seeds": [0, 1],
            "prompt": {"length": 10},
            "optim": {"stage1_steps": 10, "steps": steps, "batch_size": 8},
            "data": {"max_source_tokens": 48},
            "evaluation": {"every": 100_000, "max_examples": 8},
            "device": {"name": "cpu", "threads": 1},
            "scale": scale,
        }
    )


def _train(folder: Path, config: ExperimentConfig, on: str) -> tuple[ExperimentDir, float]:
    """Train on an executor; return the folder and the seconds it took."""
    experiment = create_experiment(config, folder / "runs")
    keep_plan(experiment, config, config.scale.slots)
    bank, began = PromptBank(folder / f"bank-{config.name}"), time.time()
    if on == "inline":
        from dtvg.training.procedures import run_experiment

        run_experiment(experiment, bank=bank)
    else:
        driver.drive(experiment, ScaleConfig(on=on, slots=config.scale.slots), bank=bank)
    return experiment, time.time() - began


def two_workers(note: Note, folder: Path, steps: int) -> None:
    """(a) Examples per second of the transfer cohorts, while they train and from start to end."""
    methods = ["target_only", "dtvg"]
    for workers in (1, 2):
        config = _demo(f"a{workers}", steps, methods, slots=2)
        experiment = create_experiment(config, folder / "runs")
        keep_plan(experiment, config, 2)
        bank, began = PromptBank(folder / f"bank-a{workers}"), time.time()
        driver.drive(experiment, ScaleConfig(on="local", slots=workers), bank=bank)
        wall = time.time() - began
        _all_trained(experiment)
        examples = len(config.runs()) * steps * config.optim.batch_size
        ends = [read_json(c.ended_path) or {} for c in experiment.cohorts() if "transfer" in c.id]
        busy = _union([(e["first_step"], e["at"]) for e in ends])
        row = {
            "workers": workers,
            "steps": steps,
            "wall_s": round(wall, 1),
            "examples_per_s": round(examples / wall, 1),
            "in_training": round(examples / busy, 1),
        }
        note("a", str(workers), row)


def _all_trained(experiment: ExperimentDir) -> None:
    """Refuse to measure what was not trained to its end.

    Raises:
        AssertionError: a run did not finish, or not all of its steps.
    """
    runs = open_experiment(experiment.path).runs
    wrong = [
        f"{r.name}: {r.state}, step {r.step} of {r.config.total_steps}, {r.message}"
        for r in runs
        if r.result is None or r.step < r.config.total_steps
    ]
    if wrong or not runs:
        raise AssertionError(f"not all was trained: {wrong}")


def _union(spans: Sequence[tuple[float, float]]) -> float:
    """Return the time in which at least one span runs."""
    total, last = 0.0, 0.0
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, last))
        last = max(last, end)
    return total


def overheads(note: Note, folder: Path, executors: Sequence[str]) -> None:
    """(b) From ready to the first step of a cohort, and what the driver takes.

    The driver's memory is the most that this process has had so far, so of the first it is its own.
    """
    for on in executors:
        config = _demo(f"b-{on}", 2, ["target_only", "dtvg"], slots=2)
        used = time.process_time()
        try:
            experiment, wall = _train(folder, config, on)
        except DtvgError as error:
            print(f"{on}: {error}")
            continue
        used = time.process_time() - used
        _all_trained(experiment)
        first, whole, loading = [], [], []
        for cohort in experiment.cohorts():
            job, ended = read_json(cohort.job_path), read_json(cohort.ended_path)
            if job and ended and ended.get("first_step"):
                first.append(ended["first_step"] - job["started"])
                loading.append(ended["first_step"] - ended["began"])
                whole.append(ended["at"] - job["started"])
        row = {
            "executor": on,
            "cohorts": len(experiment.cohorts()),
            "wall_s": round(wall, 1),
            "ready_to_first_step_s": _mean(first),
            "of_it_loading_s": _mean(loading),
            "ready_to_end_s": _mean(whole),
            "driver_cpu_s": round(used, 1),
            "driver_mib": _mib(),
        }
        note("b", on, row)


def _mean(values: Sequence[float]) -> float | str:
    return round(sum(values) / len(values), 1) if values else "–"


def _mib() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


FAULTS = {"none": Faults(), "deaths and lost nodes": Faults(deaths=0.1, node_losses=0.2)}


def simulated(
    note: Note, seeds: Sequence[int], runs: int, all_cohorts: Sequence[int], slots: int
) -> None:
    """(c) The scheduler on simulated slots, with and without faults, and with known lengths."""
    for cohorts in all_cohorts:
        for spread in (0.25, 0.5):
            for seed, finer in product(seeds, (False, True)):
                pieces, lengths = many_pieces(
                    runs, cohorts, seed, spread=spread, slots=slots if finer else None
                )
                share = runs / cohorts / 10  # of the same work, however finely it is cut
                pieces = [replace(piece, cost=piece.cost * share) for piece in pieces]
                lengths = {id_: length * share for id_, length in lengths.items()}
                last = "finer" if finer else "as the others"
                key = {"cohorts": len(pieces), "last": last, "spread": spread, "seed": seed}
                _schedules(note, key, pieces, lengths, slots)


def _schedules(
    note: Note,
    key: Mapping[str, Any],
    pieces: Sequence[Piece],
    lengths: Mapping[str, float],
    slots: int,
) -> None:
    """Schedule the same pieces with lengths guessed and known, without and with faults."""
    least, moving = least_time(pieces, lengths, slots), bound(pieces, lengths, slots)
    known = [replace(piece, cost=lengths[piece.id]) for piece in pieces]
    for told, these, what in (
        ("to a quarter", pieces, "none"),
        ("exactly", known, "none"),
        ("to a quarter", pieces, "deaths and lost nodes"),
    ):
        made = Simulation(these, lengths, slots // 8, 8, FAULTS[what], key["seed"])
        used = time.process_time()
        scheduler = simulate(made)
        kinds = {ended.kind for ended in scheduler.over.values()}
        whole = all(abs(made.committed[id_] - length) < 1e-6 for id_, length in lengths.items())
        if kinds != {"done"} or not whole:
            raise AssertionError(f"something was lost: {kinds}")
        row = {
            **key,
            "lengths_known": told,
            "faults": what,
            "nodes_lost": made.node_losses,
            "starts": made.starts,
            "makespan_h": round(made.now / 3600, 3),
            "of_allowed_%": round(100 * least / made.now, 1),
            "of_moving_%": round(100 * moving / made.now, 1),
            "slots_used_%": round(100 * scheduler.usage.share, 1),
            "cpu_s": round(time.process_time() - used, 1),
            "driver_mib": _mib(),
        }
        note("c", " ".join(str(value) for value in row.values()), row)


def desk(note: Note, folder: Path, runs: int) -> None:
    """(d) Seconds in which the tables of overview and fleet are read; 256 cohorts train."""
    config = _demo("large", 1000, ["target_only", "dtvg"]).model_dump(mode="json")
    each = runs // 8  # two methods and two targets, and as many runs of Stage I
    config |= {"seeds": list(range(each)), "device": {**config["device"], "max_cohort": 10}}
    config["optim"] = {k: v for k, v in config["optim"].items() if not k.startswith("lr_")}
    made = build_config(config)
    root = folder / "large"
    experiment = create_experiment(made, root)
    plan = keep_plan(experiment, made)
    me, moment = this_process().to_json(), time.time()
    training = [cohort for cohort in plan.cohorts if not cohort.in_stage_one][:256]
    for cohort in training:
        names = [run.name for run in cohort.runs]
        beat = {**me, "lease_of": "", "cohort": cohort.id, "heartbeat": moment, "runs": names}
        replace_json(experiment.cohort(cohort.id).process_path, beat, durable=False)
    jobs = [{"cohort": c.id, "executor": "ray", "job": c.id, "attempt": 1} for c in training]
    waiting = [{"cohort": c.id, "for": []} for c in plan.cohorts[256:456]]
    fleet = {"on": "ray", "slots": 256, "running": jobs, "waiting": waiting, "waiting_count": 700}
    replace_json(experiment.fleet_path, fleet)
    with experiment.lock():
        for what, read in (
            ("fleet", lambda: fleet_info(root)),
            ("fleet again", lambda: fleet_info(root)),
            ("overview", lambda: list_experiments(root)),
            ("overview again", lambda: list_experiments(root)),
        ):
            began = time.perf_counter()
            read()
            seconds = round(time.perf_counter() - began, 2)
            row = {"what": what, "runs": len(plan.runs), "cohorts": len(plan.cohorts)}
            note("d", what, {**row, "seconds": seconds})


if __name__ == "__main__":
    main()
