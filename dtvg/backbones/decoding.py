"""Answers without a gradient, the same for every family: greedy, constrained, and by label.

Written over `Backbone.begin` (read prompt and input once) and `Backbone.advance` (read answer
tokens, keys and values kept).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dtvg.backbones.labels import LabelSet

SMALLEST_CUT = 8
"""Batches below twice this are not made smaller when rows have their end mark."""


class Answering(Protocol):
    """What of a backbone is needed to answer; see `dtvg.backbones.base.Backbone`."""

    device: torch.device

    @property
    def pad_id(self) -> int:
        """Token that fills up."""

    @property
    def eos_id(self) -> int:
        """The end mark that is written."""

    @property
    def end_ids(self) -> tuple[int, ...]:
        """Every token that ends an answer."""

    def begin(self, prompt: Float[Tensor, "b r d"], sources: Sequence[np.ndarray]) -> Any:
        """Read prompts and inputs once."""

    def advance(self, prefix: Any, tokens: Int[Tensor, "b k"]) -> Float[Tensor, "b k v"]:
        """Read answer tokens after a prefix."""


def greedy(
    backbone: Answering,
    prompt: Float[Tensor, "b r d"],
    sources: Sequence[np.ndarray],
    limit: int,
    labels: LabelSet | None = None,
    prefix: Any = None,
) -> Int[Tensor, "b k"]:
    """Answer token by token with the likeliest one, until every row has its end mark.

    Rows that ended leave the batch once they are half of it. Ties go to the lower token id.

    Args:
        backbone: the frozen model.
        prompt: one per input.
        sources: inputs as token ids.
        limit: tokens of an answer at most, end mark included.
        labels: only paths of their trie are taken; None: any token.
        prefix: what was read of them, which is used up; None: it is read here.

    Returns:
        Token ids, filled up with the padding id after the end mark.
    """
    prefix = backbone.begin(prompt, sources) if prefix is None else prefix
    ends = torch.tensor(backbone.end_ids, device=backbone.device)
    rows = torch.arange(len(sources), device=backbone.device)
    answers = torch.full((len(sources), limit), backbone.pad_id, device=backbone.device)
    node = torch.zeros_like(rows)
    done = torch.zeros_like(rows, dtype=torch.bool)
    for place in range(limit):
        if labels is None:
            chosen = prefix.logits.argmax(-1)
        else:
            shares = prefix.logits[:, labels.tokens]
            which = shares.masked_fill(~labels.allowed[node], -torch.inf).argmax(-1)
            chosen, node = labels.tokens[which], labels.child[node, which]
        chosen = chosen.masked_fill(done, backbone.pad_id)
        answers[rows, place] = chosen
        done = done | torch.isin(chosen, ends)
        if place + 1 == limit:
            break
        left = int((~done).sum())
        if left == 0:
            return answers[:, : place + 1]
        if 2 * left <= len(rows) and len(rows) >= 2 * SMALLEST_CUT:
            kept = torch.nonzero(~done)[:, 0]
            prefix.select(kept)
            rows, node, chosen, done = rows[kept], node[kept], chosen[kept], done[kept]
        prefix.logits = backbone.advance(prefix, chosen[:, None])[:, -1]
    return answers


def label_scores(
    backbone: Answering,
    prompt: Float[Tensor, "b r d"],
    sources: Sequence[np.ndarray],
    labels: LabelSet,
    constrained: bool = False,
    prefix: Any = None,
) -> Float[Tensor, "b L"]:
    """Return the log-likelihood of each label word, end mark included.

    Prompt and input are read once for all labels. With `constrained`, each token's likelihood
    is its share among the tokens that continue some label: then labels of one token are chosen
    exactly as constrained greedy decoding chooses them.

    Args:
        backbone: the frozen model.
        prompt: one per input.
        sources: inputs as token ids.
        labels: the words.
        constrained: see above.
        prefix: what was read of them, which is used up; None: it is read here.

    Returns:
        float32, or float64 with a float64 backbone.
    """
    prefix = backbone.begin(prompt, sources) if prefix is None else prefix
    count, depth = labels.path.shape
    first = _wide(prefix.logits)[:, None, None].expand(-1, count, -1, -1)
    scores = _token_scores(first, labels, 0, 1, constrained)
    # tokens after the last choice cost nothing where likelihoods are shares among labels
    needed = labels.choices if constrained else depth
    if needed > 1:
        read = labels.tokens[labels.place[:, : needed - 1]]
        read = torch.where(labels.inside[:, : needed - 1], read, backbone.eos_id)
        prefix.repeat(count)
        logits = _wide(backbone.advance(prefix, read.repeat(len(sources), 1)))
        rest = logits.view(len(sources), count, needed - 1, -1)
        scores = scores + _token_scores(rest, labels, 1, needed, constrained)
    return scores


def answer_losses(
    backbone: Answering, prefix: Any, answers: Sequence[np.ndarray]
) -> Float[Tensor, " b"]:
    """Return Σ nll of given answers after prompts and inputs that were read; the prefix stays.

    Args:
        backbone: the frozen model.
        prefix: as `begin` left it; it `can_forget`.
        answers: token ids of each, end mark included.

    Returns:
        float32, or float64 with a float64 backbone.
    """
    width = max(len(answer) for answer in answers)
    ids = np.full((len(answers), width), backbone.pad_id, dtype=np.int64)
    for row, answer in zip(ids, answers, strict=True):
        row[: len(answer)] = answer
    inside = np.arange(width) < np.array([len(answer) for answer in answers])[:, None]
    tokens = torch.from_numpy(ids).to(backbone.device)
    logits = prefix.logits[:, None]
    if width > 1:
        more = backbone.advance(prefix, tokens[:, :-1])
        prefix.forget(width - 1)
        logits = torch.cat([logits, more], dim=1)
    nll = torch.nn.functional.cross_entropy(
        _wide(logits).flatten(0, 1), tokens.flatten(), reduction="none"
    ).view_as(tokens)
    return torch.where(torch.from_numpy(inside).to(backbone.device), nll, 0.0).sum(-1)


def _token_scores(
    logits: Float[Tensor, "b L k v"], labels: LabelSet, start: int, stop: int, constrained: bool
) -> Float[Tensor, "b L"]:
    """Sum the log-likelihoods of the labels' tokens from `start` to `stop`."""
    place, inside = labels.place[:, start:stop], labels.inside[:, start:stop]
    shares = logits[..., labels.tokens]
    own = torch.gather(shares, -1, place[None, ..., None].expand(len(logits), -1, -1, 1))[..., 0]
    if constrained:
        allowed = labels.allowed[labels.path[:, start:stop]]
        total = torch.logsumexp(shares.masked_fill(~allowed, -torch.inf), dim=-1)
    else:
        total = torch.logsumexp(logits, dim=-1)
    return torch.where(inside, own - total, 0.0).sum(-1)


def _wide(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()
