"""Contract kit for backbones: what any model must satisfy before its numbers mean anything.

`run_contract` measures every law on a loaded backbone; `dtvg backbones check` prints
the results; `BackboneContract` runs them under pytest for extensions. Imports torch; must not
import streamlit or plotly.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from dtvg.backbones.base import Backbone, Encoded
from dtvg.backbones.packing import Packing
from dtvg.backbones.speech import ANSWER_MARK
from dtvg.tasks.scoring import normal

SOURCES = (
    "sentence: a great film",
    "sentence1: once upon a time there was a little girl sentence2: she went to the park",
    "premise: no",
)
TARGETS = ("1", "once upon a time", "good")
LABELS = ("0", "1", "good")
LENGTH = 5
LIMIT = 6
TOLERANCE = {
    # some families take their softmax in float32 whatever the weights are
    torch.float64: 1e-6,
    torch.float32: 1e-4,
    torch.float16: 2e-2,
    torch.bfloat16: 8e-2,
}
"""Largest difference allowed, as a share of the largest logit (or of the loss per token)."""


@dataclass(frozen=True)
class Result:
    """What one check found."""

    name: str
    passed: bool
    measured: float
    limit: float | None
    """Largest value that passes; None where only a fact is measured."""
    unit: str
    detail: str = ""


@dataclass
class Subject:
    """A backbone with the examples that every check uses."""

    backbone: Backbone

    @cached_property
    def tolerance(self) -> float:
        """Largest relative difference that rounding explains."""
        return TOLERANCE.get(self.backbone.dtype, 0.1)

    @cached_property
    def examples(self) -> list[Encoded]:
        return self.backbone.encode(SOURCES, TARGETS, 48, 12)

    @cached_property
    def sources(self) -> list[np.ndarray]:
        return [e.source for e in self.examples]

    @cached_property
    def prompt(self) -> Tensor:
        """One prompt per example, all different."""
        rows = [self.backbone.init_prompt(LENGTH, seed) for seed in range(len(SOURCES))]
        kind = torch.float64 if self.backbone.dtype == torch.float64 else torch.float32
        return torch.stack(rows).to(self.backbone.device, kind)

    def whole(self, row: int) -> tuple[Tensor, int]:
        """Return a decoder-only row's ids and where its answer's logits start."""
        example = self.examples[row]
        ids = np.concatenate([example.source, example.target[:-1]])
        return torch.as_tensor(ids, device=self.backbone.device), len(example.source) - 1

    def plain_logits(self, row: int) -> Tensor:
        """Return a row's answer logits from one plain call of the model, nothing padded."""
        backbone, example = self.backbone, self.examples[row]
        prompt = self.prompt[row : row + 1].to(backbone.dtype)
        if backbone.family == "encoder_decoder":
            ids = torch.as_tensor(example.source, device=backbone.device)[None]
            start = backbone.start  # type: ignore[attr-defined]
            shifted = torch.as_tensor([[*start, *example.target[:-1]]], device=backbone.device)
            embeds = torch.cat([prompt, backbone.embed(ids)], 1)
            result = backbone.model(
                inputs_embeds=embeds, decoder_input_ids=shifted, use_cache=False
            )
            logits = result.logits
            return logits[0, len(start) - 1 :]
        ids, first = self.whole(row)
        embeds = torch.cat([prompt, backbone.embed(ids[None])], 1)
        return backbone.model(inputs_embeds=embeds, use_cache=False).logits[0, LENGTH + first :]


Check = Callable[[Subject], Result]
CHECKS: dict[str, Check] = {}


def check(function: Check) -> Check:
    """Register a check under its name."""
    CHECKS[function.__name__] = function
    return function


def _difference(found: Tensor, wanted: Tensor) -> float:
    """Return the largest difference as a share of the largest wanted value."""
    scale = float(wanted.detach().double().abs().max().clamp(min=1e-6))
    return float((found.detach().double() - wanted.detach().double()).abs().max()) / scale


def _judge(subject: Subject, measured: float, detail: str) -> Result:
    limit = subject.tolerance
    return Result("", bool(measured <= limit), measured, limit, "relative", detail)


def _count(wrong: int, detail: str) -> Result:
    return Result("", wrong == 0, float(wrong), 0.0, "wrong", detail)


@check
def embedding_lookup(subject: Subject) -> Result:
    """Embeddings we look up are those the model looks up itself (scaling included)."""
    backbone = subject.backbone
    ids = torch.as_tensor(subject.sources[1], device=backbone.device)[None]
    options: dict[str, object] = {"use_cache": False}
    if backbone.family == "encoder_decoder":
        options["decoder_input_ids"] = torch.tensor([backbone.start], device=backbone.device)  # type: ignore[attr-defined]
    with torch.no_grad():
        wanted = backbone.model(input_ids=ids, **options).logits
        found = backbone.model(inputs_embeds=backbone.embed(ids), **options).logits
    return _judge(subject, _difference(found, wanted), "input_ids against looked-up embeddings")


@check
def prompt_position(subject: Subject) -> Result:
    """The prompt stands before everything (encoder only where there is one)."""
    backbone, worst = subject.backbone, 0.0
    with torch.no_grad():
        logits, _ = backbone.outputs(subject.prompt, backbone.collate(subject.examples))
        for row, example in enumerate(subject.examples):
            wanted = subject.plain_logits(row)
            worst = max(worst, _difference(logits[row, : len(example.target)], wanted))
    return _judge(subject, worst, "logits against one plain call with the prompt in front")


@check
def prompt_is_read(subject: Subject) -> Result:
    """Every prompt token changes the answer of its own row and of no other."""
    backbone = subject.backbone
    prompt = subject.prompt.clone().requires_grad_()
    nll, _ = backbone.loss(prompt, backbone.collate(subject.examples))
    (gradient,) = torch.autograd.grad(nll[0], prompt)
    dead = int((gradient[0].abs().sum(-1) == 0).sum())
    others = int((gradient[1:].abs().sum((-1, -2)) > 0).sum())
    broken = int((~torch.isfinite(gradient)).any())
    return _count(dead + others + broken, "prompt tokens without effect, or on another row")


@check
def no_look_ahead(subject: Subject) -> Result:
    """A later answer token does not change an earlier one's logits."""
    backbone, example = subject.backbone, subject.examples[1]
    changed = Encoded(example.source, example.target.copy())
    changed.target[-2] = example.target[0]
    upto = len(example.target) - 2
    prompt = subject.prompt[1:2]
    with torch.no_grad():
        wanted, _ = backbone.outputs(prompt, backbone.collate([example]))
        found, _ = backbone.outputs(prompt, backbone.collate([changed]))
    difference = _difference(found[:, :upto], wanted[:, :upto])
    return _judge(subject, difference, "logits before a changed answer token")


@check
def padding_invariance(subject: Subject) -> Result:
    """A padded batch has the losses that its rows have alone."""
    backbone, worst = subject.backbone, 0.0
    with torch.no_grad():
        together, tokens = backbone.loss(subject.prompt, backbone.collate(subject.examples))
        for row, example in enumerate(subject.examples):
            alone, _ = backbone.loss(subject.prompt[row : row + 1], backbone.collate([example]))
            worst = max(worst, _difference(together[row] / tokens[row], alone[0] / tokens[row]))
    return _judge(subject, worst, "loss of padded rows against single rows")


@check
def rows_of_several_examples(subject: Subject) -> Result:
    """Examples that stand in one row have the losses and prompt gradients that padded ones have."""
    backbone = subject.backbone
    if not backbone.packs:
        return Result("", True, 0.0, None, "relative", "this model reads each example on its own")
    found = []
    for packing in (None, Packing(LENGTH, 1e9), Packing(LENGTH, 1.0)):
        prompt = subject.prompt.clone().requires_grad_()
        nll, tokens = backbone.loss(prompt, backbone.batch_of(subject.examples, packing))
        each = nll / tokens
        (gradient,) = torch.autograd.grad(each.sum(), prompt)
        found.append((each.detach(), gradient))
    padded, *packed = found
    worst = max(
        _difference(rows, whole)
        for each in packed
        for rows, whole in zip(each, padded, strict=True)
    )
    return _judge(subject, worst, "loss and gradient of packed rows against padded ones")


@check
def loss_counts_answers_only(subject: Subject) -> Result:
    """The loss sums over the answer with its end mark, and over nothing else."""
    backbone, worst = subject.backbone, 0.0
    with torch.no_grad():
        nll, tokens = backbone.loss(subject.prompt, backbone.collate(subject.examples))
        for row, example in enumerate(subject.examples):
            logits = subject.plain_logits(row).double().log_softmax(-1)
            places = torch.as_tensor(example.target, device=logits.device)[None, :, None]
            direct = -torch.gather(logits, 1, places[0]).sum()
            worst = max(worst, _difference(nll[row], direct))
            worst = max(worst, float(int(tokens[row]) != len(example.target)))
    return _judge(subject, worst, "loss against the answer's log-likelihood by hand")


@check
def answers_as_in_text(subject: Subject) -> Result:
    """An answer has the tokens it has in the text it stands in, and comes back as it is."""
    backbone = subject.backbone
    words = (*TARGETS, *LABELS)
    answers = [ids[:-1] for ids in backbone.target_ids(words, 64)]
    texts, start = list(words), 0
    if backbone.joined:
        start = len(backbone.speech.encode([ANSWER_MARK])[0])
        texts = [f"{ANSWER_MARK} {word}" for word in words]
    whole = backbone.speech.encode(texts)
    wrong = sum(ids[start:] != own for ids, own in zip(whole, answers, strict=True))
    backs = backbone.speech.decode(answers)
    lost = sum(normal(b) != normal(w) for b, w in zip(backs, words, strict=True))
    how = "with" if backbone.speech.spaced else "without"
    detail = f"answers with other tokens than in text ({how} a space before them); {lost} lost"
    return _count(wrong + lost, detail)


@check
def gradient_to_the_prompt_only(subject: Subject) -> Result:
    """Only the prompt receives a gradient; weights stay as they are, in eval mode."""
    backbone = subject.backbone

    def sums() -> list[float]:
        return [float(p.detach().float().abs().sum()) for p in backbone.model.parameters()]

    before = sums()
    prompt = subject.prompt.clone().requires_grad_()
    nll, tokens = backbone.loss(prompt, backbone.collate(subject.examples))
    (nll / tokens).sum().backward()
    backbone.generate(subject.prompt, subject.sources, 2)
    wrong = sum(p.requires_grad or p.grad is not None for p in backbone.model.parameters())
    wrong += sum(a != b and a == a for a, b in zip(before, sums(), strict=True))
    wrong += int(backbone.model.training) + int(prompt.grad is None)
    return _count(wrong, "weights with a gradient or changed")


@check
def generation_is_teacher_forcing(subject: Subject) -> Result:
    """Each generated token is the likeliest by teacher forcing, keys kept or not."""
    backbone, worst = subject.backbone, 0.0
    from dtvg.backbones.decoding import greedy

    with torch.no_grad():
        answers = greedy(backbone, subject.prompt, subject.sources, LIMIT).cpu().numpy()
        for row, answer in enumerate(answers):
            ends = np.flatnonzero(np.isin(answer, backbone.end_ids))
            answer = answer[: ends[0] + 1] if len(ends) else answer
            example = Encoded(subject.sources[row], answer.astype(np.int64))
            logits, _ = backbone.outputs(subject.prompt[row : row + 1], backbone.collate([example]))
            chosen = torch.as_tensor(answer, device=logits.device)[None, :, None]
            gap = logits.double().amax(-1) - torch.gather(logits.double(), 2, chosen)[..., 0]
            worst = max(worst, float(gap.max() / logits.double().abs().max().clamp(min=1e-6)))
    return _judge(subject, worst, "logit lost against the argmax of teacher forcing")


@check
def generation_ignores_neighbours(subject: Subject) -> Result:
    """The first answer token's logits are the same in a batch and alone."""
    backbone, worst = subject.backbone, 0.0
    with torch.no_grad():
        together = backbone.begin(subject.prompt, subject.sources).logits
        for row in range(len(subject.sources)):
            part = slice(row, row + 1)
            alone = backbone.begin(subject.prompt[part], subject.sources[part]).logits
            worst = max(worst, _difference(together[part], alone))
    return _judge(subject, worst, "logits of a left-padded batch against single rows")


@check
def generation_stops(subject: Subject) -> Result:
    """Answers end at the limit, and at once when every row has its end mark."""
    from dtvg.backbones.decoding import greedy

    backbone = subject.backbone
    labels = backbone.label_set(LABELS, 12)
    with torch.no_grad():
        free = greedy(backbone, subject.prompt, subject.sources, 3)
        bound = greedy(backbone, subject.prompt, subject.sources, 40, labels)
    longest = max(len(ids) for ids in labels.ids)
    wrong = int(free.shape[1] > 3) + int(bound.shape[1] > longest)
    wrong += sum(text not in LABELS for text in backbone.decode(bound))
    return _count(wrong, f"answers beyond their end; longest label {longest} tokens")


@check
def label_scores_are_losses(subject: Subject) -> Result:
    """A label's score, its input read once, is minus the loss of the whole sequence."""
    backbone, worst = subject.backbone, 0.0
    labels = backbone.label_set(LABELS, 12)
    scores = backbone.label_scores(subject.prompt, subject.sources, labels)
    with torch.no_grad():
        for place, ids in enumerate(labels.ids):
            answers = [Encoded(s, np.asarray(ids)) for s in subject.sources]
            nll, _ = backbone.loss(subject.prompt, backbone.collate(answers))
            worst = max(worst, _difference(scores[:, place], -nll))
    return _judge(subject, worst, "label log-likelihood against the loss")


@check
def repeats_are_equal(subject: Subject) -> Result:
    """The same inputs give the same losses, answers and initial prompt twice."""
    backbone = subject.backbone
    batch = backbone.collate(subject.examples)
    with torch.no_grad():
        pairs = [backbone.loss(subject.prompt, batch)[0] for _ in range(2)]
    answers = [backbone.generate(subject.prompt, subject.sources, LIMIT) for _ in range(2)]
    starts = [backbone.init_prompt(LENGTH, 3) for _ in range(2)]
    wrong = int(answers[0] != answers[1]) + int(not torch.equal(*starts))
    same = torch.equal(pairs[0], pairs[1]) or backbone.device.type != "cpu"
    close = _difference(pairs[0], pairs[1]) <= subject.tolerance
    return _count(wrong + int(not (same and close)), "differences between two equal calls")


@check
def step_time(subject: Subject) -> Result:
    """Milliseconds of one forward and backward pass over 8 examples, the best of three."""
    backbone = subject.backbone
    examples = [subject.examples[1]] * 8
    best = float("inf")
    for _ in range(3):
        prompt = subject.prompt[:1].expand(8, -1, -1).clone().requires_grad_()
        _wait(backbone)
        started = time.perf_counter()
        backbone.loss(prompt, backbone.collate(examples))[0].sum().backward()
        _wait(backbone)
        best = min(best, (time.perf_counter() - started) * 1e3)
    detail = f"8 examples of {examples[0].tokens} tokens and {LENGTH} of prompt"
    return Result("", True, best, None, "ms", detail)


@check
def memory(subject: Subject) -> Result:
    """Bytes of the weights, and the peak of the device after a step."""
    backbone = subject.backbone
    weights = sum(p.numel() * p.element_size() for p in backbone.model.parameters()) / 2**20
    detail = f"{sum(p.numel() for p in backbone.model.parameters()):,} weights"
    if backbone.device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(backbone.device) / 2**20
        detail += f"; peak {peak:.0f} MiB"
    return Result("", True, weights, None, "MiB", detail)


def _wait(backbone: Backbone) -> None:
    if backbone.device.type == "cuda":
        torch.cuda.synchronize(backbone.device)


def run_check(name: str, subject: Subject) -> Result:
    """Run one check; an error inside is a failure that says what it was."""
    try:
        found = CHECKS[name](subject)
    except Exception as error:  # noqa: BLE001 (a foreign model may raise anything)
        first = " ".join(str(error).split())[:160]
        return Result(name, False, float("nan"), None, "", f"{type(error).__name__}: {first}")
    return Result(name, found.passed, found.measured, found.limit, found.unit, found.detail)


def run_contract(backbone: Backbone, names: Sequence[str] | None = None) -> list[Result]:
    """Measure every law on a loaded backbone, in order.

    Args:
        backbone: any family, device and precision.
        names: of `CHECKS`; None: all.
    """
    subject = Subject(backbone)
    return [run_check(name, subject) for name in names or CHECKS]


class BackboneContract:
    """Every law as one test; subclasses give `make`, which returns a loaded backbone."""

    def make(self) -> Backbone:
        raise NotImplementedError

    def test_the_backbone_keeps_the_contract(self) -> None:
        failed = [r for r in run_contract(self.make()) if not r.passed]
        assert not failed, "\n".join(f"{r.name}: {r.measured:.3g} {r.detail}" for r in failed)
