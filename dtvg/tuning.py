"""Choosing learning rates: as many trials for every method, on a development target.

The trials are the method entries of one experiment of its own, so that cohorts train them
together, and it is resumed and read like any other. What is chosen goes into the method entries of
the experiment that is tuned, with where it came from. docs/methods.md "Tuning".
"""

from __future__ import annotations

import datetime
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from dtvg.config import ExperimentConfig, build, build_config
from dtvg.config.rates import resolved, settings_of
from dtvg.errors import ConfigError, StoreError, unknown
from dtvg.methods.specs import MethodConfig, Role
from dtvg.methods.specs.rates import ENTRY_FIELDS, OPTIONAL, RATE_FIELDS, TUNED
from dtvg.records import LOSS
from dtvg.store.reader import Experiment, Run, read_table

TRIALS, SPAN = 8, 10.0
"""Where nothing else is said: trials of a method, and how far from its rates they reach."""
TOGETHER = ("scale_target", "scale")
"""What is trained at one rate in a trial."""
Point = dict[str, float]
"""Rates of a trial by the field of the method entry."""
Rows = dict[str, tuple[str, ...]]
"""Label of a row → what takes its place."""
COMPARED = ("better", "than")
"""What of a hypothesis names a row."""
ANCHOR = re.compile(r"&\S+\s+")
"""What stands before a YAML value that aliases repeat."""
COLUMNS = ["method", "trial", *RATE_FIELDS[:-1], "score", "loss", "runs", "chosen"]


@dataclass(frozen=True)
class Trials:
    """What is tried: an experiment whose entries are the trials, and which belong to what."""

    config: ExperimentConfig
    on: tuple[str, ...]
    """Development targets."""
    of: tuple[tuple[MethodConfig, ...], ...]
    """For each entry of the tuned experiment its trials, in order."""

    @property
    def count(self) -> int:
        """Trials of each method."""
        return len(self.of[0])


def trials_of(
    config: ExperimentConfig,
    on: Sequence[str],
    count: int = TRIALS,
    span: float = SPAN,
    grid: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
    seeds: Sequence[int] | None = None,
    name: str | None = None,
) -> Trials:
    """Lay out the trials that tune an experiment's methods.

    Args:
        config: the experiment that is tuned.
        on: development targets; none of its targets.
        count: trials of each method: the rates it has, then points spread evenly around them.
        span: how many times higher and lower than these they reach.
        grid: method → field → values; instead of `count` and `span` every combination is tried.
        seeds: of the trials; None: the experiment's first.
        name: of the tuning experiment; None: the experiment's with `-tune`.

    Raises:
        ConfigError: a development target is a target, methods would get unequal numbers of
            trials, or a trial would have a rate that is not allowed; with the way out.
    """
    _check_targets(config, on)
    _check_methods(config, grid or {})
    if count < 1 or not 1 < span < math.inf:
        raise ConfigError(
            f"Tuning takes at least 1 trial and a span above 1; got {count} and {span:g}."
        )
    of = tuple(_entries(config, method, count, span, grid) for method in config.methods)
    counts = {m.label: len(trials) for m, trials in zip(config.methods, of, strict=True)}
    told = ", ".join(f"{label} {number}" for label, number in counts.items())
    if grid is None and set(counts.values()) != {count}:
        raise ConfigError(
            f"Up to {span:g} times higher and lower there are not {count} different rates of three "
            f"digits for every method ({told}); ask for fewer trials or a wider span."
        )
    if len(set(counts.values())) > 1:
        raise ConfigError(
            f"Every method must have the same number of trials; the grid gives {told}. Give each "
            "method as many values, or leave the grid out."
        )
    values = config.to_values()
    given = {t: p for t, p in config.prompt.given.items() if t in (*config.sources, *on)}
    values |= {
        "name": name or f"{config.name[:75]}-tune",
        "notes": f"Trials of rates for {config.name}, on {', '.join(on)}.",
        "targets": list(on),
        "methods": [entry.model_dump(mode="json") for trials in of for entry in trials],
        "seeds": list(seeds or config.seeds[:1]),
        "evaluation": {**values["evaluation"], "at_end": "none"},
        "prompt": {**values["prompt"], "given": given},
    }
    values.pop("hypothesis", None)
    rows = [(m, t) for m, trials in zip(config.methods, of, strict=True) for t in trials]
    values = _with_rows(values, config, _renamed(config, rows, on))
    return Trials(build_config(values, "tuning"), tuple(on), of)


def _check_targets(config: ExperimentConfig, on: Sequence[str]) -> None:
    if not on:
        raise ConfigError("Tuning needs a development target; name one, e.g. --on cb.")
    seen = [task for task in on if task in config.targets]
    if seen:
        raise ConfigError(
            f"'{seen[0]}' is a target of '{config.name}', so rates chosen on it would be chosen on "
            "what is compared; name a development target that is none of "
            f"{', '.join(config.targets)}."
        )


def _check_methods(config: ExperimentConfig, grid: Mapping[str, Any]) -> None:
    names = dict.fromkeys(method.name for method in config.methods)
    for name in grid:
        if name not in names:
            raise ConfigError(unknown("method of the grid", name, names))


def _entries(
    config: ExperimentConfig,
    method: MethodConfig,
    count: int,
    span: float,
    grid: Mapping[str, Mapping[str, Sequence[float]]] | None,
) -> tuple[MethodConfig, ...]:
    """Return the trials of one entry, each with all of its rates named."""
    centre = rates_of(config, method)
    if grid is None:
        own = {name: float(getattr(method.own, what)) for what, name in ENTRY_FIELDS.items()}
        points = spread(centre, count, span, {name: own[name] for name in centre})
    else:
        points = _combinations(centre, grid.get(method.name, {}), method)
    plain = {k: v for k, v in method.model_dump(mode="json").items() if k not in OPTIONAL}
    kept = {k: v for k, v in method.given.items() if k in ("steps", "weight_decay")}
    where = f"trial of '{method.label}'"
    made = (build(type(method), {**plain, **kept, **point}, where) for point in points)
    return tuple(dict.fromkeys(made))


def rates_of(config: ExperimentConfig, method: MethodConfig) -> Point:
    """Return the rates that an entry has in an experiment, by the entry's fields."""
    optim, _ = resolved(config.optim, method)
    settings = settings_of(method)
    return {
        ENTRY_FIELDS[what]: float(getattr(optim, setting))
        for what, setting in settings.items()
        if what != "decay"
    }


def spread(centre: Point, count: int, span: float, own: Point | None = None) -> list[Point]:
    """Return `count` points: the centre, maybe others, then a Halton sequence around the centre.

    Args:
        centre: rates; those of scales move together.
        count: how many.
        span: how many times higher and lower than the centre the sequence reaches, evenly in the
            logarithm.
        own: the method's own rates, tried next where they are not the centre.
    """
    from scipy.stats import qmc

    tied = {ENTRY_FIELDS[what] for what in TOGETHER}
    axes: list[list[str]] = [[name] for name in centre if name not in tied]
    axes += [[name for name in centre if name in tied]] if tied & centre.keys() else []
    points = [dict(centre), *([dict(own)] if own not in (None, centre) else [])]
    for place in qmc.Halton(len(axes), scramble=False).random(count + 1)[1:]:
        point: Point = {}
        for axis, share in zip(axes, place, strict=True):
            factor = span ** (2 * float(share) - 1)
            point |= {name: _rounded(centre[name] * factor) for name in axis}
        if (place != 0.5).any():  # the middle is the centre
            points.append({name: point[name] for name in centre})
    return points[:count]


def _rounded(rate: float) -> float:
    """Return a rate in three digits, so that it reads the same everywhere."""
    return float(f"{rate:.3g}")


def _combinations(
    centre: Point, values: Mapping[str, Sequence[float]], method: MethodConfig
) -> list[Point]:
    strange = [name for name in values if name not in centre]
    if strange:
        raise ConfigError(
            f"Method '{method.name}' has no rate '{strange[0]}'; it has {', '.join(centre)}."
        )
    axes = [[float(v) for v in values.get(name, [centre[name]])] for name in centre]
    return [dict(zip(centre, point, strict=True)) for point in itertools.product(*axes)]


@dataclass(frozen=True, eq=False)
class Tuning:
    """What the trials showed."""

    table: pd.DataFrame
    """`COLUMNS`: a trial a row, rates by field; `score` the mean validation score over targets and
    seeds, 0..1, `loss` the mean validation loss at the best step, `runs` how many finished."""
    chosen: tuple[MethodConfig, ...]
    """The entries of the tuned experiment with the rates that were chosen, and how."""

    def applied(self, config: ExperimentConfig) -> ExperimentConfig:
        """Return the tuned experiment with the chosen rates."""
        values = _with_rows(config.to_values(), config, self.renamed(config))
        values["methods"] = [entry.model_dump(mode="json") for entry in self.chosen]
        return build_config(values, config.name)

    def renamed(self, config: ExperimentConfig) -> Rows:
        """Return what rows of the tuned experiment are called with the chosen rates, by what they
        were called: rates are part of a label."""
        pairs = list(zip(config.methods, self.chosen, strict=True))
        return _renamed(config, pairs, config.targets)


def _renamed(
    config: ExperimentConfig,
    pairs: Sequence[tuple[MethodConfig, MethodConfig]],
    targets: Sequence[str],
) -> Rows:
    """Return the labels of rows with other rates, by what they were called.

    Args:
        config: whose sources entries are expanded on.
        pairs: an entry, and what takes its place.
        targets: what they are run on.
    """
    found: dict[str, list[str]] = {}
    for old, new in pairs:
        expanded = [(old, new)]
        for sources in map(config.sources_of, targets):
            expanded += zip(old.expand(sources), new.expand(sources), strict=True)
        for one, other in expanded:
            found.setdefault(one.label, []).append(other.label)
    return {label: tuple(dict.fromkeys(labels)) for label, labels in found.items()}


def _with_rows(values: dict[str, Any], config: ExperimentConfig, renamed: Rows) -> dict[str, Any]:
    """Return an experiment's values with rows called as they are now.

    Args:
        values: of the experiment, as nested mappings.
        config: the experiment as it was: what stands for a method's name stays.
        renamed: from `_renamed`.
    """
    told = values.get("hypothesis") or {}
    now = {key: _row_now(config, str(told.get(key) or ""), renamed) for key in COMPARED}

    def rows(named: Mapping[str, Any]) -> dict[str, Any]:
        return {new: v for old, v in named.items() for new in _rows_now(config, old, renamed)}

    made = {**values, "logging": {**values["logging"]}}
    made["logging"]["detail_of"] = rows(config.logging.detail_of)
    if config.seeds_of:
        made["seeds_of"] = rows(config.seeds_of)
    return {**made, "hypothesis": {**told, **now}} if told else made


def _rows_now(config: ExperimentConfig, row: str, renamed: Rows) -> tuple[str, ...]:
    """Return what rows are called now that settings name; a method's name stays."""
    named = any(method.name == row for method in config.methods)
    return (row,) if named else renamed.get(row, (row,))


def _row_now(config: ExperimentConfig, row: str, renamed: Rows) -> str:
    """Return what a row of a hypothesis is called now; a name that stands for one row stays."""
    if sum(method.name == row for method in config.methods) == 1:
        return row
    return renamed.get(row, (row,))[0]


def _with_names(text: str, config: ExperimentConfig, renamed: Rows) -> str:
    """Return a YAML text in which rows are called as they are now where they are named."""
    import yaml

    def inside(node: Any, *keys: str) -> list[tuple[Any, Any]]:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        if not keys:
            return list(pairs)
        return [one for k, value in pairs if k.value == keys[0] for one in inside(value, *keys[1:])]

    root = yaml.compose(text)
    edits = [
        (value, _row_now(config, str(value.value), renamed))
        for key, value in inside(root, "hypothesis")
        if key.value in COMPARED
    ]
    for place in (("seeds_of",), ("logging", "detail_of")):
        edits += [
            (key, _rows_now(config, key.value, renamed)[0]) for key, _ in inside(root, *place)
        ]
    once = {node.start_mark.index: (node, now) for node, now in edits}  # aliases are one node
    for start, (node, now) in sorted(once.items(), reverse=True):
        if node.value != now:
            anchor = ANCHOR.match(text, start)
            start = anchor.end() if anchor else start
            text = text[:start] + now + text[node.end_mark.index :]
    return text


def choose(trials: Trials, experiment: Experiment) -> Tuning:
    """Choose each method's rates: the highest validation score, then the lower loss.

    Args:
        trials: what was tried.
        experiment: the tuning experiment as it is recorded; its test splits are never read.

    Raises:
        StoreError: trials have not finished, or all of a method's failed.
    """
    runs = {run.name: run for run in experiment.runs if run.role == "transfer"}
    open_ends = [r for r in runs.values() if r.result is None and r.state.value != "failed"]
    if open_ends:
        raise StoreError(
            f"{len(open_ends)} of {len(runs)} runs of '{experiment.name}' have not finished, so "
            f"nothing is chosen yet; the same `dtvg tune` goes on with them."
        )
    rows: list[dict[str, Any]] = []
    chosen = []
    for entries in trials.of:
        found = [_measured(trials, entry, runs) for entry in entries]
        whole = max(number for _, _, number in found)
        scored = [i for i, (_, _, number) in enumerate(found) if number == whole > 0]
        if not scored:
            raise StoreError(
                f"No trial of method '{entries[0].name}' finished in '{experiment.name}'; "
                f"`dtvg runs list {experiment.name}` says why."
            )
        best = min(scored, key=lambda i: (-found[i][0], found[i][1], i))
        for i, (entry, (score, loss, number)) in enumerate(zip(entries, found, strict=True)):
            facts = {"method": entry.name, "trial": i + 1, **entry.given}
            said = {"score": score, "loss": loss, "runs": number, "chosen": i == best}
            rows.append({**facts, **said})
        chosen.append(_with_proof(entries[best], trials))
    return Tuning(pd.DataFrame(rows, columns=COLUMNS).dropna(axis=1, how="all"), tuple(chosen))


def _with_proof(entry: MethodConfig, trials: Trials) -> MethodConfig:
    """Return an entry with how its rates were chosen."""
    proof = {
        **entry.given,
        "targets": list(trials.on),
        "trials": trials.count,
        "date": datetime.date.today().isoformat(),
        "experiment": trials.config.name,
        "fingerprint": trials.config.fingerprint(),
    }
    return type(entry).model_validate({**entry.model_dump(mode="json"), TUNED: proof})


def _measured(
    trials: Trials, entry: MethodConfig, runs: Mapping[str, Run]
) -> tuple[float, float, int]:
    """Return mean validation score and loss of a trial, and how many of its runs finished."""
    names = [
        run.name
        for run in trials.config.runs()
        if run.full_role is not Role.TRIAL and _belongs(run.method, entry)
    ]
    done = [runs[n] for n in names if n in runs and runs[n].result is not None]
    scores = [run.result.validation_score for run in done if run.result is not None]
    losses = [_loss(run) for run in done]
    if not scores:
        return float("-inf"), float("inf"), 0
    return float(np.mean(scores)), float(np.mean(losses)), len(scores)


def _belongs(method: MethodConfig, entry: MethodConfig) -> bool:
    """Whether a run's method is one of those that an entry stands for."""
    return method == entry or method.stackable() == entry.stackable()


def _loss(run: Run) -> float:
    """Return a run's validation loss at its best step; the worst where none is logged."""
    best = -1 if run.result is None else run.result.best_step
    data = read_table(run, "evals", ["step", "split", "metric", "value"], best, best)
    for column, value in (("split", "validation"), ("metric", LOSS)):
        data = data.filter(pc.equal(data.column(column), value))
    values = data.column("value").to_pylist()
    return float(np.mean(values)) if values else float("inf")


def written_into(
    text: str, chosen: Sequence[MethodConfig], config: ExperimentConfig | None = None
) -> str:
    """Return a YAML text with other method entries; everything else stays as it is written.

    Only rows that are named elsewhere get the names that they have now.

    Args:
        text: of an experiment.
        chosen: the new entries.
        config: the experiment as it was; None: the text names no rows.

    Raises:
        ConfigError: the text has no list of methods of its own.
    """
    import yaml

    if config is not None:
        pairs_of = list(zip(config.methods, chosen, strict=True))
        text = _with_names(text, config, _renamed(config, pairs_of, config.targets))
    node = yaml.compose(text)
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    found = [value for key, value in pairs if key.value == "methods"]
    if not found or not isinstance(found[0], yaml.SequenceNode):
        raise ConfigError("The file has no list 'methods', so no rates can be written into it.")
    begin, end = found[0].start_mark.index, found[0].end_mark.index
    tail = text[end:].lstrip(" ").removeprefix("\n")
    if not found[0].flow_style:  # what stands between the list and the next key is not the list's
        tail = text[begin + len(_without_last_comments(text[begin:end])) :]
    entries = [entry.model_dump(mode="json", exclude_defaults=True) for entry in chosen]
    named = [{"name": entry.name, **values} for entry, values in zip(chosen, entries, strict=True)]
    lines = (
        yaml.safe_dump(
            entry, default_flow_style=True, width=10_000, sort_keys=False, allow_unicode=True
        ).strip()
        for entry in named
    )
    block = "\n" + "".join(f"  - {line}\n" for line in lines)
    return f"{text[:begin].rstrip()}{block}{tail}"


def _without_last_comments(text: str) -> str:
    """Return a block's text up to the end of its last line that says something."""
    lines = text.splitlines(keepends=True)
    while lines and (not lines[-1].strip() or lines[-1].lstrip().startswith("#")):
        lines.pop()
    return "".join(lines)
