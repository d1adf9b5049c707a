"""Stored answers of runs, example by example, their inputs, and resampled scores.

Runs are paired by what an example says (its fingerprint), never by its place. docs/verdicts.md
"By example".
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from dtvg.analysis.compare.scores import Sheet, value_of
from dtvg.analysis.statistics import RESAMPLES
from dtvg.analysis.unread import Unread
from dtvg.errors import DtvgError
from dtvg.store.reader import Run, open_run, read_inputs, read_table
from dtvg.tasks.catalogue import find_task
from dtvg.tasks.labels import label_words
from dtvg.tasks.metrics import mean_scorer, value_scorer
from dtvg.tasks.reading import is_kept, load_task
from dtvg.tasks.scoring import Answers, Scorer
from dtvg.tasks.sources import find_folder, look_for
from dtvg.tasks.spec import example_fingerprint

Floats = npt.NDArray[np.float64]

BLOCK = 1_000
"""Resamples computed at once: their weights take 8 MB per thousand examples."""
SAME = 1e-6
"""A recomputed score this near to the recorded one is the same."""
COLUMNS = ["step", "split", "task", "row", "fingerprint", "target", "prediction"]
COLUMNS += ["correct", "value"]


@dataclass(frozen=True, eq=False)
class TargetExamples:
    """Answers of runs to the same examples of one target."""

    target: str
    n_examples: int
    answers: dict[Path, Answers]
    """Run's folder → its answers, the same example at the same place in each."""
    scorers: dict[Path, Scorer]
    """Run's folder → its score under any weights of the examples."""
    accuracy: bool
    """Whether the score is the accuracy, so that McNemar's test is about it."""
    problems: tuple[str, ...]
    """Why runs were left out."""

    def resampled(self, runs: Sequence[Run], draw: int) -> dict[Path, Floats]:
        """Score each run on 10,000 resamples of the examples, the same ones for all runs.

        Args:
            runs: those wanted; others than `answers` are skipped.
            draw: number of the draw; another number gives independent resamples.

        Returns:
            Run's folder → `[B]`.
        """
        return self._weighted(runs, resample_weights(self.n_examples, draw))

    def values(self, runs: Sequence[Run]) -> dict[Path, Floats]:
        """Return what each example contributes to the score of each run.

        The jackknife's pseudo-values: `E` times the score minus `E − 1` times the score without
        the example. Of a mean over examples they are the examples' own values.

        Args:
            runs: those wanted; others than `answers` are skipped.

        Returns:
            Run's folder → `[E]`; nothing with fewer than two examples.
        """
        n = self.n_examples
        if n < 2:
            return {}
        whole = self._weighted(runs, iter([np.ones((1, n))]))
        without = self._weighted(runs, _one_left_out(n))
        return {path: n * whole[path] - (n - 1) * one for path, one in without.items()}

    def _weighted(self, runs: Sequence[Run], weightings: Iterator[Floats]) -> dict[Path, Floats]:
        """Score each run under weights of the examples, given in blocks `[b E]`."""
        wanted = list(dict.fromkeys(r.path for r in runs if r.path in self.scorers))
        made = [self.scorers[path] for path in wanted]
        if not made:
            return {}
        features = np.concatenate([one.features for one in made], axis=1)
        ends = np.cumsum([one.features.shape[1] for one in made])
        blocks: list[list[Floats]] = [[] for _ in made]
        for weights in weightings:
            sums = np.split(weights @ features, ends[:-1], axis=1)
            for block, one, own in zip(blocks, made, sums, strict=True):
                block.append(one.finish(own, weights))
        return {path: np.concatenate(block) for path, block in zip(wanted, blocks, strict=True)}


def resample_weights(n: int, draw: int) -> Iterator[Floats]:
    """Return how often each of n examples is drawn in 10,000 resamples, `[block n]` by blocks.

    Args:
        n: examples.
        draw: number of the draw; another number gives independent resamples.
    """
    rng = np.random.default_rng([0, draw])
    for _ in range(RESAMPLES // BLOCK):
        drawn = rng.integers(0, n, (BLOCK, n)) + np.arange(BLOCK)[:, None] * n
        counts = np.bincount(drawn.ravel(), minlength=BLOCK * n).reshape(BLOCK, n)
        yield counts.astype(np.float64)


def _one_left_out(n: int) -> Iterator[Floats]:
    """Weights that leave each example out once, `[block n]`, block by block."""
    for first in range(0, n, BLOCK):
        count = min(BLOCK, n - first)
        weights = np.ones((count, n))
        weights[np.arange(count), first + np.arange(count)] = 0
        yield weights


@dataclass(frozen=True)
class StoredAnswers:
    """A run's answers, sorted by the content of the examples."""

    keys: tuple[tuple[str, int], ...]
    """Fingerprint of each example, and how many of the same content came before."""
    target: tuple[str, ...]
    prediction: tuple[str, ...]
    correct: tuple[bool, ...]
    value: tuple[float, ...]


def read_answers(run: Run, split: str) -> StoredAnswers | None:
    """Return the answers a run's score rests on; None without any.

    Args:
        run: finished, with `evaluation.keep_predictions` other than none.
        split: `validation` or `test`.
    """
    if run.result is None:
        return None
    try:
        written = os.stat(run.path / "predictions").st_mtime_ns
    except OSError:  # kept none, or as whoever reads says
        written = None
    return _read_answers(run.path, run.target, run.result.best_step, split, written)


@lru_cache(maxsize=512)
def _read_answers(
    path: Path, target: str, best: int, split: str, written: int | None
) -> StoredAnswers | None:
    """Read the answers of a finished run; those of several views are read once."""
    data = read_table(open_run(path), "predictions", COLUMNS, best, best)
    mine = pc.and_(pc.equal(data.column("split"), split), pc.equal(data.column("task"), target))
    data = data.filter(mine)
    if not data.num_rows:
        return None
    rows, fingerprints, *columns = (data.column(c).to_numpy().tolist() for c in COLUMNS[3:])
    at, keys = _sorted(tuple(rows), tuple(fingerprints))
    return StoredAnswers(keys, *(tuple(column[i] for i in at) for column in columns))


@lru_cache(maxsize=128)
def _sorted(
    rows: tuple[int, ...], fingerprints: tuple[str, ...]
) -> tuple[list[int], tuple[tuple[str, int], ...]]:
    """Return places of answers by their examples' content, and their keys; mostly as a run before.

    Of several answers to a row the last counts.
    """
    newest = {row: i for i, row in enumerate(rows)}
    at = sorted(newest.values(), key=lambda i: (fingerprints[i], rows[i]))
    seen: Counter[str] = Counter()
    keys = []
    for i in at:
        content = fingerprints[i]
        keys.append((content, seen[content]))
        seen[content] += 1
    return at, tuple(keys)


def target_examples(sheet: Sheet, target: str, rows: Sequence[str]) -> TargetExamples:
    """Read the answers behind rows on one target, as `examples_of` their runs.

    Args:
        sheet: from `scores.collect`.
        target: the target.
        rows: rows wanted.
    """
    runs = [
        run
        for row in rows
        for behind in sheet.behind.get((row, target), {}).values()
        for run in behind
    ]
    return examples_of(runs, target, sheet.split, sheet.metric)


def examples_of(
    wanted: Sequence[Run], target: str, split: str, metric: str = "score"
) -> TargetExamples:
    """Read the answers of finished runs on one target, and check them against the scores.

    A run is left out where it kept no answers, where they cannot be read or do not give the
    recorded score, or where it answered different examples from most runs.

    Args:
        wanted: the runs; each counts once.
        target: the target.
        split: `validation` or `test`.
        metric: "score" or one of the task's metrics.
    """
    runs = {run.path: run for run in wanted}
    unread = Unread()
    read = {p: unread.tried(r, lambda run: read_answers(run, split)) for p, r in runs.items()}
    runs = {path: run for path, run in runs.items() if run not in unread}
    stored = {path: one for path, one in read.items() if one is not None}
    counted = Counter(one.keys for one in stored.values()).most_common(1)
    common = counted[0][0] if counted else ()
    answers, scorers, plain, odd = {}, {}, True, 0
    words: dict[Path, tuple[str, ...] | None] = {}  # settings of data are an experiment's
    for path, run in runs.items():
        if path not in stored or stored[path].keys != common:
            continue
        if path.parent not in words:
            words[path.parent] = _words(run)
        mine = _answers(stored[path], words[path.parent])
        made = _checked(run, split, metric, mine)
        if made is None:
            odd += 1
            continue
        answers[path], scorers[path] = mine, made
        plain &= set(_metrics(run, metric)) == {"accuracy"}
    other = sum(one.keys != common for one in stored.values())
    problems = _problems(split, len(runs), len(stored), other, odd, unread)
    return TargetExamples(target, len(common), answers, scorers, plain and bool(scorers), problems)


def _problems(
    split: str, runs: int, kept: int, other: int, odd: int, unread: Unread
) -> tuple[str, ...]:
    """Say which runs are compared by seed only."""
    told = []
    if kept < runs:
        told.append(
            f"{runs - kept} of {runs} runs stored no {split} answers (evaluation.keep_predictions)"
        )
    if other:
        told.append(f"{other} answered different examples from most runs")
    if odd:
        told.append(f"the score of {odd} cannot be recomputed from stored answers")
    if unread.named:
        told.append(f"answers that cannot be read ({unread.named})")
    return tuple(told)


def _answers(stored: StoredAnswers, words: tuple[str, ...] | None) -> Answers:
    return Answers(
        target=stored.target,
        prediction=stored.prediction,
        correct=np.array(stored.correct, dtype=np.float64),
        value=np.array(stored.value, dtype=np.float64),
        words=tuple(sorted(set(stored.target))) if words is None else words,
    )


def _words(run: Run) -> tuple[str, ...] | None:
    """Label words of a run's target; None where the task or the configuration is not known."""
    config = run.config
    if config is None:
        return None
    try:
        spec = find_task(run.target)
        return label_words(spec, config.data.labels, config.data.label_words)
    except DtvgError:
        return None


def _metrics(run: Run, metric: str) -> tuple[str, ...]:
    if metric != "score":
        return (metric,)
    known = run.result.metrics if run.result is not None else {}
    return tuple(m for m in known if m != "score")


def _checked(run: Run, split: str, metric: str, answers: Answers) -> Scorer | None:
    """Return the scorer that gives the run's recorded score from its answers; None: neither."""
    recorded = value_of(run, split, metric)
    once = np.ones((1, len(answers.target)))
    for made in (mean_scorer(_metrics(run, metric), answers), value_scorer(answers)):
        if made is not None and recorded is not None:
            if abs(float(made(once)[0]) - recorded) <= SAME:
                return made
    return None


def net_correct(examples: TargetExamples, first: Sequence[Run], second: Sequence[Run]) -> Floats:
    """Return by how much of its runs the first got each example right more than the second."""
    a, b = (
        np.mean([examples.answers[run.path].correct for run in runs], axis=0)
        for runs in (first, second)
    )
    return np.asarray(a - b, dtype=np.float64)


def input_texts(run: Run, split: str, rows: Sequence[int]) -> dict[str, str]:
    """Return fingerprint → input text of rows of a run's target.

    Texts that are kept with the experiment (recorded examples) need no data on this machine.

    Args:
        run: whose target and data settings.
        split: `test` or `validation`.
        rows: within the split, as stored with the answers.

    Returns:
        Only rows that can be read now; nothing where the task or its data are missing.
    """
    kept = read_inputs(run.path.parent, run.target)
    if kept:
        return kept
    config = run.config
    if config is None:
        return {}
    try:
        spec = find_task(run.target)
        place = find_folder(spec, config.data.folder)
        if not look_for(spec, place).in_folder and not is_kept(spec, config.data):
            return {}
        examples = load_task(run.target, config.data).split(split)
    except DtvgError:
        return {}
    found = [examples[row] for row in sorted(set(rows)) if row < len(examples)]
    return {example_fingerprint(e): e.source for e in found}
