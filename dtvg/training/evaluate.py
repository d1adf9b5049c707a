"""Scoring prompts, all runs of a cohort together: by free answers or by label likelihood.

Examples of every run are sorted by length, answered in shared batches and scored with their
task's own metrics. docs/tasks.md "Metrics".
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dtvg.backbones import decoding
from dtvg.backbones.base import Backbone, Encoded
from dtvg.backbones.labels import LabelSet
from dtvg.tasks.metrics import first_asked, per_example, score, score_with_intervals
from dtvg.tasks.scoring import accepted
from dtvg.tasks.spec import Example, TaskSpec, example_fingerprint
from dtvg.tasks.splits import draw_order
from dtvg.training.batches import TokenisedTask, cut
from dtvg.training.instance import Composer, composer_of
from dtvg.training.losses import mean_losses
from dtvg.training.state import Stack


@dataclass(frozen=True)
class Question:
    """One run's prompt to be scored on rows of one task."""

    prompt: Float[Tensor, "r d"] | Composer
    """One for all rows, or what composes one for each."""
    task: TokenisedTask
    split: str
    rows: np.ndarray
    mode: str = "generate"
    """`generate` or `labels`, as `evaluation.mode`."""
    constrained: bool = False
    with_loss: bool = False
    """Whether the loss on the rows is wanted as well."""

    @property
    def way(self) -> tuple[int, str, bool, tuple[str, ...]]:
        """What examples of one batch must share: limit, mode, and label words where they count.

        Tasks without label words are always answered freely.
        """
        spec = self.task.spec
        if not spec.labels or (self.mode == "generate" and not self.constrained):
            return spec.max_target_tokens, "generate", False, ()
        return spec.max_target_tokens, self.mode, self.constrained, spec.labels

    @property
    def note(self) -> str:
        """One sentence where the task cannot be answered as asked; else empty."""
        asked = self.mode == "labels" or self.constrained
        if not asked or self.task.spec.labels:
            return ""
        name = self.task.spec.name
        return f"Task {name} has no label words, so its answers are generated freely."


@dataclass(frozen=True)
class Answer:
    """What came out of a `Question`."""

    metrics: dict[str, float]
    """By metric name; `score` is their mean."""
    n_examples: int
    seconds: float
    predictions: tuple[str, ...]
    rows: np.ndarray
    margins: np.ndarray | None = None
    """Log-likelihood of the answered label minus the next best, where labels were scored."""
    loss: float | None = None
    """Σ nll / Σ target tokens over the rows, where it was asked for."""


CPU_BUDGET = 2048
"""Padded tokens of an evaluation's batch on the CPU: larger ones leave its caches."""


def evaluation_rows(task: TokenisedTask, split: str, at_most: int, data_seed: int) -> np.ndarray:
    """Return the rows scored: all, or a seeded sample, the same for every run and step.

    The sample depends on the rows' content and the data seed, not on their order in a file.
    Rows that are scored together (MultiRC's questions) are kept or left out as a whole.
    """
    texts = task.texts[split]
    key = (task.fingerprint, split, at_most, data_seed)
    if key not in _SAMPLES:
        order = _once(texts, draw_order(texts, data_seed))
        count = min(at_most, len(order))
        while 0 < count < len(order) and _together(texts[order[count - 1]], texts[order[count]]):
            count -= 1
        _SAMPLES[key] = np.sort(np.array(order[: count or at_most]))
    return _SAMPLES[key]


def _once(texts: Sequence[Example], order: Sequence[int]) -> list[int]:
    """Keep the first of the rows of a group that ask the same (ReCoRD, generation)."""
    return [order[place] for place in first_asked([texts[row] for row in order])]


def _together(one: Example, other: Example) -> bool:
    """Whether two examples are scored together."""
    return one.group is not None and one.group == other.group


_SAMPLES: dict[tuple[str, str, int, int], np.ndarray] = {}


def answer(
    backbone: Backbone, questions: Sequence[Question], budget: int, sharing: bool = True
) -> list[Answer]:
    """Score every question; batches mix runs and tasks.

    The same prompt asked the same rows twice (methods that start alike) is answered once.

    Args:
        backbone: the frozen model.
        questions: prompts with the rows to answer.
        budget: padded tokens per batch.
        sharing: whether a row is read once for its answer and its loss, where the model can take
            back what it read; otherwise, and before engine 2, it is read once more.

    Returns:
        One answer per question; seconds are shared out by examples.
    """
    started = time.perf_counter()
    backbone.training(False)
    first: dict[tuple[object, ...], int] = {}
    same = [first.setdefault(_identity(q), i) for i, q in enumerate(questions)]
    if backbone.device.type == "cpu":
        budget = min(budget, CPU_BUDGET)
    found = {i: _Answers([""] * len(questions[i].rows)) for i in first.values()}
    for way in dict.fromkeys(questions[i].way for i in found):
        # another answer limit or other labels never share a batch: an answer is the one it is alone
        _answer_alike(
            backbone,
            {i: questions[i] for i in found if questions[i].way == way},
            found,
            budget,
            sharing,
        )
    losses = {i: part.loss for i, part in found.items() if math.isfinite(part.loss)}
    unread = {i: questions[i] for i in found if questions[i].with_loss and i not in losses}
    losses |= _losses(backbone, unread, budget)
    elapsed = time.perf_counter() - started
    total = max(1, sum(len(q.rows) for q in questions))
    answers = []
    for i, question in enumerate(questions):
        part = found[same[i]]
        texts_of = question.task.texts[question.split]
        examples = [texts_of[int(row)] for row in question.rows]
        metrics = _scores(question.task.spec, part.texts, examples)
        share = elapsed * len(examples) / total
        margins = np.array(part.margins, dtype=np.float32) if part.margins else None
        answers.append(
            Answer(
                metrics,
                len(examples),
                share,
                tuple(part.texts),
                question.rows,
                margins,
                losses.get(same[i]),
            )
        )
    return answers


def mixed_prompts(backbone: Backbone, stack: Stack, budget: int) -> dict[str, Float[Tensor, "r d"]]:
    """Return the mixed prompt of every run of a stack, composed without chance.

    Of an instance-wise method it is the mean over the run's validation rows that are scored.

    Args:
        backbone: the frozen model.
        stack: not changed.
        budget: padded tokens per batch of composed prompts.
    """
    if not stack.slots[0].method.instance_wise:
        with torch.no_grad():
            mixed = stack.method.forward(stack.state).prompt
        return {slot.name: mixed[i] for i, slot in enumerate(stack.slots)}
    means = {}
    for slot in stack.slots:
        composer = composer_of(stack, slot)
        inputs: list[np.ndarray] = []
        for task in slot.data.tasks:
            most, seed = slot.config.evaluation.max_examples, slot.config.data.seed
            rows = evaluation_rows(task, "validation", most, seed)
            inputs += [task.encoded["validation"][int(row)].source for row in rows]
        if composer is not None:
            means[slot.name] = composer.mean_prompt(backbone, inputs, budget)
    return means


@dataclass
class _Answers:
    """One question's answers as they come in."""

    texts: list[str]
    margins: list[float] = field(default_factory=list)
    nll: list[float] = field(default_factory=list)
    """Of the rows, where they were read once for answer and loss; not a number where not."""
    tokens: int = 0
    """Target tokens of the rows."""

    @property
    def loss(self) -> float:
        """Σ nll / Σ target tokens; not a number where a row was not read for it."""
        return float(np.sum(self.nll)) / max(1, self.tokens) if self.nll else math.nan

    def take(self, row: int, place: int, read: _Reading, with_loss: bool) -> None:
        """Take over what a batch answered at one of its places."""
        self.texts[row] = read.texts[place]
        if read.margins:
            self.margins[row] = read.margins[place]
        if read.nll and with_loss:
            self.nll = self.nll or [math.nan] * len(self.texts)
            self.nll[row] = read.nll[place]


def _identity(question: Question) -> tuple[object, ...]:
    if isinstance(question.prompt, Composer):
        key = question.prompt.identity
    else:
        prompt = question.prompt.detach().float().cpu().numpy().tobytes()
        key = hashlib.blake2b(prompt, digest_size=16).digest()
    task, rows = question.task.fingerprint, question.rows.tobytes()
    return (key, task, question.split, rows, question.way, question.with_loss)


def _losses(backbone: Backbone, questions: dict[int, Question], budget: int) -> dict[int, float]:
    """Return the loss of each question, by its number."""
    if not questions:
        return {}
    prompts = _Prompts(backbone, [question.prompt for question in questions.values()])
    asked = {
        i: [question.task.encoded[question.split][int(row)] for row in question.rows]
        for i, question in questions.items()
    }
    return mean_losses(backbone, asked, prompts.of, prompts.length, budget)


def _answer_alike(
    backbone: Backbone,
    questions: dict[int, Question],
    found: dict[int, _Answers],
    budget: int,
    sharing: bool,
) -> None:
    """Answer questions of one way in shared batches, the longest inputs first."""
    numbers = list(questions)
    limit, mode, _, words = questions[numbers[0]].way
    labels = backbone.label_set(words, limit) if words else None
    prompts = _Prompts(backbone, [questions[i].prompt for i in numbers])
    places = [(k, j) for k, i in enumerate(numbers) for j in range(len(questions[i].rows))]
    examples: list[Encoded] = []
    for i, question in questions.items():
        encoded = question.task.encoded[question.split]
        mine = [encoded[int(row)] for row in question.rows]
        examples += mine
        found[i].tokens = sum(len(e.target) for e in mine)
        if mode == "labels":
            found[i].margins = [0.0] * len(mine)
    pieces = cut([len(e.source) for e in examples], prompts.length, budget)
    while pieces:
        piece = pieces.pop(0)
        owners = np.array([places[p][0] for p in piece])
        part = [examples[p] for p in piece]
        asked = sharing and any(questions[numbers[k]].with_loss for k in set(owners.tolist()))
        try:
            mixed = prompts.of(owners, [e.source for e in part])
            read = _read(backbone, mixed, part, questions[numbers[0]], labels, asked)
        except torch.OutOfMemoryError:
            if len(piece) == 1:
                raise
            pieces[:0] = np.array_split(piece, 2)
            continue
        for n, p in enumerate(piece):
            owner, row = places[p]
            found[numbers[owner]].take(row, n, read, questions[numbers[owner]].with_loss)


@dataclass
class _Reading:
    """What a batch answered; lists that were not asked for are empty."""

    texts: list[str]
    margins: list[float]
    nll: list[float]


@torch.no_grad()
def _read(
    backbone: Backbone,
    prompts: Float[Tensor, "b r d"],
    examples: Sequence[Encoded],
    question: Question,
    labels: LabelSet | None,
    with_loss: bool,
) -> _Reading:
    """Answer a batch of one way; prompt and input of a row are read once for all it is asked.

    The loss of the right answers comes with it, where it is wanted and the model can take back
    what it read.
    """
    limit, mode, constrained, _ = question.way
    sources = [e.source for e in examples]
    prefix = backbone.begin(prompts, sources)
    scoring = mode == "labels" and labels is not None
    known = _places_of(examples, labels) if scoring and not constrained else None
    nll: list[float] = []
    if with_loss and known is None and prefix.can_forget:
        nll = decoding.answer_losses(backbone, prefix, [e.target for e in examples]).tolist()
    if not scoring or labels is None:
        return _Reading(backbone.generate(prompts, sources, limit, labels, prefix), [], nll)
    scores = backbone.label_scores(prompts, sources, labels, constrained, prefix)
    if with_loss and known is not None:
        # the likelihood of the right label, end mark included, is what the loss asks for
        nll = [-row[place] for row, place in zip(scores.tolist(), known, strict=True)]
    return _Reading(*best_labels(scores, labels), nll)


def _places_of(examples: Sequence[Encoded], labels: LabelSet | None) -> list[int] | None:
    """Return which label word each answer is; None where one is none of them."""
    place = {} if labels is None else {ids: k for k, ids in enumerate(labels.ids)}
    found = [place.get(tuple(e.target.tolist())) for e in examples]
    return None if None in found else [k for k in found if k is not None]


class _Prompts:
    """The prompts of several questions: given ones are stacked, others composed per batch."""

    def __init__(self, backbone: Backbone, asked: Sequence[Tensor | Composer]) -> None:
        self.backbone = backbone
        self.composers = {i: p for i, p in enumerate(asked) if isinstance(p, Composer)}
        given = [p for p in asked if not isinstance(p, Composer)]
        self.given = torch.stack(given) if given else None
        composing = np.array([isinstance(p, Composer) for p in asked])
        self.row = np.cumsum(~composing) - 1
        first = asked[0]
        self.length = first.length if isinstance(first, Composer) else int(first.shape[0])

    def of(self, owners: np.ndarray, sources: Sequence[np.ndarray]) -> Float[Tensor, "b r d"]:
        """Return the prompt of each input, given the question it belongs to."""
        if not self.composers and self.given is not None:
            return self.given[torch.as_tensor(owners, device=self.given.device)]
        parts: list[Tensor] = []
        order: list[int] = []
        for owner in dict.fromkeys(owners.tolist()):
            places = np.flatnonzero(owners == owner).tolist()
            order.extend(places)
            if owner in self.composers:
                inputs = [sources[p] for p in places]
                parts.append(self.composers[owner].prompts(self.backbone, inputs))
            elif self.given is not None:
                parts.append(self.given[self.row[owner]].expand(len(places), -1, -1))
        back = np.argsort(order)
        joined = torch.cat(parts)
        return joined[torch.as_tensor(back, device=joined.device)]


def best_labels(scores: Float[Tensor, "b L"], labels: LabelSet) -> tuple[list[str], list[float]]:
    """Return the likeliest label word of each row and its margin over the next.

    Equal scores go to the label with the lower token ids, as an argmax over tokens would.
    """
    order = labels.preference
    ordered = scores[:, order]
    best = ordered.argmax(-1)
    top = ordered.topk(min(2, len(order)), dim=-1).values
    texts = [labels.words[order[i]] for i in best.tolist()]
    return texts, (top[:, 0] - top[:, -1]).tolist()


def _scores(
    spec: TaskSpec, predictions: Sequence[str], examples: Sequence[Example]
) -> dict[str, float]:
    return {name: float(value) for name, value in score(spec, predictions, examples).items()}


def values_of(
    spec: TaskSpec, predictions: Sequence[str], examples: Sequence[Example]
) -> list[float]:
    """Return each example's own score, 0..1: the task's, else whether the answer is accepted."""
    hits = [float(hit) for hit in accepted(predictions, examples)]
    # a metric that is not a mean over examples (a correlation) has no value of a single one
    values = per_example(spec, predictions, examples)
    return [
        hit if value is None or not math.isfinite(value) else float(value)
        for value, hit in zip(values, hits, strict=True)
    ]


def prediction_columns(
    task: TokenisedTask, answer: Answer, split: str, step: int
) -> dict[str, Any]:
    """Return rows of the table `predictions`.

    Args:
        task: what was asked.
        answer: what was answered.
        split: `validation` or `test`.
        step: steps trained when it was answered.
    """
    rows = [int(row) for row in answer.rows]
    examples = [task.texts[split][row] for row in rows]
    count = len(rows)
    return {
        "step": [step] * count,
        "split": [split] * count,
        "task": [task.spec.name] * count,
        "row": rows,
        "fingerprint": [example_fingerprint(e) for e in examples],
        "target": [e.target for e in examples],
        "prediction": list(answer.predictions),
        "correct": accepted(answer.predictions, examples),
        "value": values_of(task.spec, answer.predictions, examples),
        "margin": None if answer.margins is None else answer.margins,
    }


def intervals_of(task: TokenisedTask, answer: Answer, split: str) -> dict[str, list[float]]:
    """Return each metric's bootstrap interval over the examples answered, `[low, high]`."""
    examples = [task.texts[split][int(row)] for row in answer.rows]
    scored = score_with_intervals(task.spec, answer.predictions, examples)
    return {name: [made.low, made.high] for name, made in scored.items()}
