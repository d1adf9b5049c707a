"""A declared study: its plan, its gate, its answer, from the declaration and the recorded runs.

`python -m tools.study docs/studies/NAME.yaml` prints plan, power, gate and primary comparisons;
`--write` also fills `docs/studies/NAME.md` between `<!-- study PART -->` and `<!-- end -->`. A
block that was not run stands in every table as not run. The gate was declared before the runs, so
its sentence is made here and not by hand.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy import optimize, stats

from dtvg import paths
from dtvg.analysis.compare.info import compare_info
from dtvg.analysis.statistics import MOST_SEEDS
from dtvg.config import ExperimentConfig, load_config
from dtvg.errors import ConfigError
from dtvg.plan import plan
from dtvg.plan.estimate import duration, estimate
from dtvg.store.reader import Experiment, open_experiment
from tools.experiment_tables import scores

ROOT = Path(__file__).resolve().parent.parent
PLACE = re.compile(r"<!-- study (\w+)(?: (\d+))? -->\n.*?<!-- end -->", re.DOTALL)
CANNOT = "This backbone cannot test the claim"

Scores = Mapping[tuple[str, str, int], float]
"""(target, method's label, seed) → test score in percent."""


@dataclass(frozen=True)
class Block:
    """One experiment of the study, in the order of information."""

    number: int
    what: str
    device: str
    file: str
    config: ExperimentConfig

    @property
    def labels(self) -> dict[str, str]:
        """Label → label without rates, of methods that do not stand at their defaults as well; of
        several rates the first counts."""
        methods = [run.method for run in self.config.runs()]
        there, found = {method.label for method in methods}, dict[str, str]()
        for method in methods:
            plain = method.without_rates().label
            if plain not in there and plain not in found.values():
                found[method.label] = plain
        return found

    def recorded(self, runs_dir: Path) -> Experiment | None:
        """Return what was recorded of it; None where it was not begun."""
        folder = runs_dir / self.config.name
        return open_experiment(folder) if (folder / "experiment.yaml").exists() else None


@dataclass(frozen=True)
class Study:
    """What was declared."""

    blocks: tuple[Block, ...]
    related: dict[str, str]
    """Target → its related source."""
    points: float
    """By how much the related source alone must beat no transfer."""
    targets: int
    """How many targets must pass."""
    each_block: bool
    """Whether a target counts once in every block that has it, not once in all."""
    pilot: dict[str, Any]
    power: dict[str, Any]


@dataclass(frozen=True)
class Gain:
    """What a target's related source alone gives over no transfer, in points."""

    target: str
    source: str
    gains: tuple[float, ...]
    """Seed by seed; empty where it was not run."""
    waiting: int = 0
    """Seeds of blocks that were begun which have not finished with both methods."""

    @property
    def done(self) -> bool:
        """Whether every seed is in: before, the mean decides nothing."""
        return bool(self.gains) and not self.waiting

    @property
    def mean(self) -> float:
        """Over seeds."""
        return float(np.mean(self.gains)) if self.gains else float("nan")


def read(path: Path) -> Study:
    """Read a declaration.

    Raises:
        ConfigError: a key is missing, or a block is no valid experiment.
    """
    told = yaml.safe_load(path.read_text(encoding="utf-8"))
    try:
        blocks = tuple(_block(number, one) for number, one in enumerate(told["blocks"]))
        return Study(
            blocks,
            dict(told["related"]),
            float(told["gate"]["points"]),
            int(told["gate"]["targets"]),
            bool(told["gate"].get("each_block", False)),
            told["pilot"],
            told["power"],
        )
    except KeyError as error:
        raise ConfigError(f"{path} does not declare {error}; see docs/studies.") from None


def _block(number: int, told: Mapping[str, Any]) -> Block:
    config = load_config(ROOT / told["file"], [])
    if told.get("sources_from") is not None:  # the plan tunes no sources then
        given = dict.fromkeys(config.sources, f"block {told['sources_from']}")
        prompt = config.prompt.model_copy(update={"given": given})
        config = config.model_copy(update={"prompt": prompt})
    return Block(number, told["what"], told["device"], told["file"], config)


def gains(related: Mapping[str, str], found: Scores) -> list[Gain]:
    """Return each target's gain from its related source alone, paired by seed."""
    result = []
    for target, source in related.items():
        label = f"single-{source}"
        seeds = sorted(s for t, m, s in found if (t, m) == (target, label))
        pairs = [s for s in seeds if (target, "none", s) in found]
        each = [found[target, label, s] - found[target, "none", s] for s in pairs]
        result.append(Gain(target, source, tuple(each)))
    return result


def gate(found: Sequence[Gain], points: float, targets: int) -> str:
    """Say whether enough targets passed, did not, or may still.

    Args:
        found: one per target with a related source.
        points: the least mean gain.
        targets: how many must pass.
    """
    passed = [g.target for g in found if g.done and g.mean >= points]
    failed = [g.target for g in found if g.done and g.mean < points]
    begun = [g.target for g in found if g.waiting]
    waiting = [g.target for g in found if not g.done and not g.waiting]
    told = f"{len(passed)} of {len(found)} targets passed the gate"
    told += f" ({', '.join(passed)})" if passed else ""
    told += f"; did not pass: {', '.join(failed)}" if failed else ""
    told += f"; not finished: {', '.join(begun)}" if begun else ""
    told += f"; not run: {', '.join(waiting)}" if waiting else ""
    waiting += begun
    if len(passed) >= targets:
        return f"{told}. The claim can be tested on the targets that passed."
    if len(passed) + len(waiting) >= targets and waiting:
        return f"{told}. {targets} are needed, so the gate is open until more targets are run."
    return f"{told}. {targets} are needed. {CANNOT}."


def scores_of(blocks: Sequence[Block], runs_dir: Path) -> dict[tuple[str, str, int], float]:
    """Return the test score of every finished transfer run; the first block that has one counts.

    A method that stands at rates of its own alone has its label without them.
    """
    found: dict[tuple[str, str, int], float] = {}
    for block in blocks:
        experiment, labels = block.recorded(runs_dir), block.labels
        for run in experiment.runs if experiment else ():
            if run.role == "transfer" and run.result is not None:
                score = run.result.test_score
                if score is not None:
                    label = labels.get(run.method, run.method)
                    found.setdefault((run.target, label, run.seed), 100 * score)
    return found


def detectable(sd: float, seeds: int, level: float, power: float) -> float:
    """Return the mean paired difference that a two-sided t-test finds with the given power."""
    critical = stats.t.ppf(1 - level / 2, seeds - 1)

    def lacking(effect: float) -> float:
        shift = effect * np.sqrt(seeds)
        return float(stats.nct.sf(critical, seeds - 1, shift)) - power

    most = 50.0
    while lacking(most) < 0:  # two seeds at a strict level
        most *= 2
    return sd * float(optimize.brentq(lacking, 0.0, most))


def seeds_for(effect: float, sd: float, level: float, power: float) -> int | None:
    """Return the fewest seeds with which an effect of that many points is found; None: there are
    more than 1,000."""
    every = range(2, MOST_SEEDS + 1)
    return next((n for n in every if detectable(sd, n, level, power) <= effect), None)


def plan_table(study: Study, runs_dir: Path) -> str:
    """Return blocks with their run-steps, estimated time, and how much is done."""
    head = ["block", "what", "runs", "run-steps", "estimate (old CPU cores, or a GPU)", "done"]
    lines = [_row(head), "|---" * len(head) + "|"]
    for block in study.blocks:
        device = block.config.device.model_copy(update={"name": block.device})
        config = block.config.model_copy(update={"device": device})
        made = plan(config)
        count = sum(len(cohort.runs) for cohort in made.transfer)
        cost = duration(estimate(config, made).seconds, "not known")
        where = "two CPU cores" if block.device == "cpu" else "one GPU"
        done = f"{_done(block, runs_dir)} of {count}"
        cells = [f"{block.number} (`{block.file}`)", block.what, count, f"{made.run_steps:,}"]
        lines.append(_row([*cells, f"{cost}, {where}", done]))
    return "\n".join(lines)


def _done(block: Block, runs_dir: Path) -> int:
    experiment = block.recorded(runs_dir)
    runs = experiment.runs if experiment else ()
    return sum(run.role == "transfer" and run.result is not None for run in runs)


def power_table(study: Study, runs_dir: Path) -> str:
    """Return how many seeds an effect needs by the pilot, and what the declared ones can find."""
    sd, level, power = study.pilot["sd"], study.power["level"], study.power["power"]
    lines = [_row(["difference in points", "seeds needed"]), "|---|---|"]
    for effect in study.power["effects"]:
        seeds = seeds_for(effect, sd, level, power)
        lines.append(_row([f"{effect:g}", f"> {MOST_SEEDS:,}" if seeds is None else seeds]))
    counts = sorted({len(block.config.seeds) for block in study.blocks} - {1})
    told = "; ".join(f"{n} seeds find {detectable(sd, n, level, power):.1f} points" for n in counts)
    told = told or "one seed cannot show a difference"
    return "\n".join([*lines, "", f"On one target, {told}."])


def gate_table(study: Study, runs_dir: Path) -> str:
    """Return the gain of every target's related source, and what the gate says."""
    found = _gains(study, runs_dir)
    lines = [_row(["target", "related source", "gain over none, points", "seeds", "passes"])]
    lines.append("|---" * 5 + "|")
    for one in found:
        ran = bool(one.gains)
        spread = f" ± {np.std(one.gains, ddof=1):.1f}" if len(one.gains) > 1 else ""
        passes = ("yes" if one.mean >= study.points else "no") if one.done else ""
        gain = f"{one.mean:+.1f}{spread}" if ran else "not run"
        seeds = f"{len(one.gains)}" + (f" of {len(one.gains) + one.waiting}" * bool(one.waiting))
        lines.append(_row([one.target, one.source, gain, seeds, passes]))
    return "\n".join([*lines, "", gate(found, study.points, study.targets)])


def _gains(study: Study, runs_dir: Path) -> list[Gain]:
    if not study.each_block:
        return _gains_of(study.blocks, study.related, runs_dir)
    result = []
    for block in study.blocks:
        if any(method.name == "none" for method in block.config.methods):
            related = {t: s for t, s in study.related.items() if t in block.config.targets}
            for one in _gains_of([block], related, runs_dir):
                result.append(replace(one, target=f"{one.target} (block {block.number})"))
    return result


def _gains_of(blocks: Sequence[Block], related: Mapping[str, str], runs_dir: Path) -> list[Gain]:
    """Return gains over some blocks, and how many seeds of those that were begun are waiting."""
    begun = [block for block in blocks if block.recorded(runs_dir)]
    planned = {
        (r.target, labels.get(r.method.label, r.method.label), r.seed)
        for block, labels in ((b, b.labels) for b in begun)
        for r in block.config.runs()
    }
    result = []
    for one in gains(related, scores_of(blocks, runs_dir)):
        seeds = {s for t, m, s in planned if (t, m) == (one.target, f"single-{one.source}")}
        both = sum((one.target, "none", seed) in planned for seed in seeds)
        result.append(replace(one, waiting=max(0, both - len(one.gains))))
    return result


def primary_text(study: Study, runs_dir: Path) -> str:
    """Return the declared comparison of each block that has one, as tested, or that it waits."""
    lines = []
    for block in study.blocks:
        told = block.config.hypothesis
        if not told.declared:
            continue
        head = f"- Block {block.number}, {told.better} against {told.than} on {told.on}: "
        experiment = block.recorded(runs_dir)
        runs = [r for r in experiment.runs if r.role == "transfer"] if experiment else []
        sentence = "not run."
        if any(run.result is not None for run in runs):
            found = compare_info(runs).primary
            sentence = " ".join(one.sentence for one in found) or "cannot be told yet."
        lines.append(head + sentence)
    return "\n".join(lines)


def scores_table(study: Study, runs_dir: Path, number: int) -> str:
    """Return method × target of a block."""
    block = study.blocks[number]
    experiment = block.recorded(runs_dir)
    return scores(experiment, singles=True) if experiment else f"Block {number} was not run."


def _row(cells: Sequence[object]) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


PARTS = {"plan": plan_table, "power": power_table, "gate": gate_table, "primary": primary_text}


def part(study: Study, runs_dir: Path, name: str, number: str | None) -> str:
    """Return one part of the report."""
    if name == "scores":
        return scores_table(study, runs_dir, int(number or 0))
    return PARTS[name](study, runs_dir)


def write(page: Path, made: Any) -> None:
    """Fill a page's parts; `made` is called with a part's name and number."""

    def fill(found: re.Match[str]) -> str:
        return f"{found.group().splitlines()[0]}\n{made(*found.groups())}\n<!-- end -->"

    page.write_text(PLACE.sub(fill, page.read_text(encoding="utf-8")), encoding="utf-8")


def main() -> None:
    """Print the report of a study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="the declaration")
    parser.add_argument("--runs-dir", type=Path, help="folder of experiments (default: data/runs)")
    parser.add_argument("--write", action="store_true", help="fill the page beside the file")
    options = parser.parse_args()
    study, runs_dir = read(options.file), options.runs_dir or paths.runs()
    made = partial(part, study, runs_dir)
    for name in PARTS:
        print(f"{name}\n\n{made(name, None)}\n")
    for block in study.blocks:
        print(f"scores of block {block.number}\n\n{made('scores', str(block.number))}\n")
    if options.write:
        write(options.file.with_suffix(".md"), made)


if __name__ == "__main__":
    main()
