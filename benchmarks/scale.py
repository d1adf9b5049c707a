"""From one process to many: what is gained, what it costs, how full the slots get.

    python -m benchmarks.scale [--parts a b c d] [--seeds 0 1] [--executors inline local ray slurm]

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
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import machine
from dtvg.analysis.overview.fleet import fleet_info
from dtvg.config import ExperimentConfig, ScaleConfig, build_config
from dtvg.errors import DtvgError
from dtvg.plan.stored import keep_plan
from dtvg.scale import driver
from dtvg.scale.simulation import Faults, Simulation, bound, many_pieces
from dtvg.scale.simulation import run as simulate
from dtvg.store.bank import PromptBank
from dtvg.store.files import read_json, replace_json
from dtvg.store.layout import ExperimentDir, create_experiment
from dtvg.store.processes import this_process
from dtvg.store.reader import list_experiments

LINE = "{:<34} {:>12} {:>12} {:>12} {:>12} {:>12}"


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--parts", nargs="+", default=["a", "b", "c", "d"], choices=["a", "b", "c", "d"]
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--executors", nargs="+", default=["inline", "local", "ray", "slurm"])
    parser.add_argument("--steps", type=int, default=200, help="of (a)")
    parser.add_argument("--runs", type=int, default=10_000, help="of (c) and (d)")
    parser.add_argument("--cohorts", type=int, default=1_000, help="of (c) and (d)")
    parser.add_argument("--slots", type=int, default=256, help="of (c)")
    given = parser.parse_args(argv)
    logging.getLogger("dtvg.scale").setLevel(logging.ERROR)
    print(", ".join(f"{k} {v}" for k, v in machine.facts().items()))
    folder = Path(tempfile.mkdtemp(prefix="dtvg-scale-"))
    try:
        parts: dict[str, Callable[[], None]] = {
            "a": lambda: two_workers(folder, given.steps),
            "b": lambda: overheads(folder, given.executors),
            "c": lambda: simulated(given.seeds, given.runs, given.cohorts, given.slots),
            "d": lambda: desk(folder, given.runs, given.cohorts),
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


def two_workers(folder: Path, steps: int) -> None:
    """(a) Examples per second of the transfer cohorts, while they train and from start to end."""
    print("\n(a) local workers, one thread each")
    print(LINE.format("workers", "wall s", "examples/s", "in training", "", ""))
    methods = ["target_only", "dtvg"]
    for workers in (1, 2):
        config = _demo(f"a{workers}", steps, methods, slots=2)
        experiment = create_experiment(config, folder / "runs")
        keep_plan(experiment, config, 2)
        bank, began = PromptBank(folder / f"bank-a{workers}"), time.time()
        driver.drive(experiment, ScaleConfig(on="local", slots=workers), bank=bank)
        wall = time.time() - began
        examples = len(config.runs()) * steps * config.optim.batch_size
        ends = [read_json(c.ended_path) or {} for c in experiment.cohorts() if "transfer" in c.id]
        spans = [(e["first_step"], e["at"]) for e in ends]
        busy = _union(spans)
        print(LINE.format(workers, f"{wall:.1f}", f"{examples / wall:.0f}",
                          f"{examples / busy:.0f}", "", ""))  # fmt: skip


def _union(spans: Sequence[tuple[float, float]]) -> float:
    """Return the time in which at least one span runs."""
    total, last = 0.0, 0.0
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, last))
        last = max(last, end)
    return total


def overheads(folder: Path, executors: Sequence[str]) -> None:
    """(b) From ready to the first step of a cohort, and what the driver takes."""
    print("\n(b) what an executor adds, 4 cohorts of 2 steps")
    columns = ("wall s", "to 1st step", "job to end", "driver CPU s", "driver MiB")
    print(LINE.format("executor", *columns))
    for on in executors:
        config = _demo(f"b-{on}", 2, ["target_only", "dtvg"], slots=2)
        used = time.process_time()
        try:
            experiment, wall = _train(folder, config, on)
        except DtvgError as error:
            print(f"{on}: {error}")
            continue
        used = time.process_time() - used
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        first, whole = [], []
        for cohort in experiment.cohorts():
            job, ended = read_json(cohort.job_path), read_json(cohort.ended_path)
            if job and ended and ended.get("first_step"):
                first.append(ended["first_step"] - job["started"])
                whole.append(ended["at"] - job["started"])
        cells = [f"{sum(v) / len(v):.1f}" if v else "" for v in (first, whole)]
        print(LINE.format(on, f"{wall:.1f}", *cells, f"{used:.1f}", f"{memory:.0f}"))


def simulated(seeds: Sequence[int], runs: int, cohorts: int, slots: int) -> None:
    """(c) The scheduler on simulated slots, with and without faults."""
    print(f"\n(c) {runs:,} runs in {cohorts:,} cohorts on {slots} simulated slots")
    columns = ("makespan h", "of allowed", "slots used", "starts", "driver MiB")
    print(LINE.format("spread of lengths, faults, seed", *columns))
    for spread in (0.25, 0.5):
        for seed in seeds:
            pieces, lengths = many_pieces(runs, cohorts, seed, spread=spread)
            allowed = bound(pieces, lengths, slots)
            for faults in (Faults(), Faults(deaths=0.1, node_losses=0.2)):
                made = Simulation(pieces, lengths, slots // 8, 8, faults, seed)
                scheduler = simulate(made)
                kinds = {ended.kind for ended in scheduler.over.values()}
                whole = all(
                    abs(made.committed[id_] - length) < 1e-6 for id_, length in lengths.items()
                )
                if kinds != {"done"} or not whole:
                    raise AssertionError(f"something was lost: {kinds}")
                memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                what = f"{made.node_losses} nodes lost" if faults.node_losses else "none"
                print(
                    LINE.format(
                        f"{spread}, {what}, {seed}",
                        f"{made.now / 3600:.2f}",
                        f"{allowed / made.now:.1%}",
                        f"{scheduler.usage.share:.1%}",
                        made.starts,
                        f"{memory:.0f}",
                    )
                )


def desk(folder: Path, runs: int, cohorts: int) -> None:
    """(d) Seconds in which the tables of overview and fleet are read."""
    print(f"\n(d) an experiment of {runs:,} runs in {cohorts:,} cohorts, 256 of them training")
    config = _demo("large", 1000, ["target_only", "dtvg"]).model_dump(mode="json")
    each = runs // 4
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
            print(f"{what:<34} {time.perf_counter() - began:>10.2f} s")


if __name__ == "__main__":
    main()
