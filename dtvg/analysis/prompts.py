"""The prompt bank in numbers: health of each prompt, and where the task vectors lie."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dtvg.analysis import titles
from dtvg.analysis.words import in_percent
from dtvg.errors import DataError
from dtvg.store.bank import ADVICE, AT_MAJORITY, NOT_MOVED, TaskPrompt, health


@dataclass(frozen=True, eq=False)
class BankInfo:
    """The bank as a table, one row per prompt."""

    table: pd.DataFrame
    """`task, seed, health, score, majority, n_examples, vector_norm, init_norm, length, width,
    backbone, revision, initial, steps, origin, created, identity`; scores 0..1, norms
    Frobenius, `created` in local time."""

    @property
    def weak(self) -> pd.DataFrame:
        """The rows whose prompt should not be a source as it is."""
        return self.table[self.table["health"].isin((AT_MAJORITY, NOT_MOVED))]


@dataclass(frozen=True, eq=False)
class SpaceInfo:
    """How the task prompt vectors of one initial prompt lie to each other."""

    names: tuple[str, ...]
    cosine: np.ndarray
    """`[k k]` of the pooled vectors; 0 against a zero vector."""
    dot: np.ndarray
    """`[k k]`: ⟨v_i, v_j⟩ / d of the pooled vectors, as the grouping compares them."""
    map: pd.DataFrame
    """`name, x, y`: principal components of the whole vectors."""
    explained: tuple[float, float]
    """Share of the variance on each axis."""
    token_norms: pd.DataFrame
    """`name, token, norm`: length of the vector at each prompt token."""

    @property
    def pairs(self) -> pd.DataFrame:
        """`first, second, cosine, dot` of every pair."""
        rows, columns = np.triu_indices(len(self.names), k=1)
        return pd.DataFrame(
            {
                "first": [self.names[i] for i in rows],
                "second": [self.names[j] for j in columns],
                "cosine": self.cosine[rows, columns],
                "dot": self.dot[rows, columns],
            }
        )


SHOWN = {
    "task": "task",
    "seed": "seed",
    "health": "health",
    "score": "score (%)",
    "majority": "commonest answer (%)",
    "vector_norm": "norm of the vector",
    "length": "length",
    "width": "width",
    "backbone": "backbone",
    "steps": "steps",
    "origin": "origin",
    "created": "created",
    "identity": "identity",
}
"""Columns of the bank as people read them."""
NAMED = 8
"""Weak prompts that are named, of each kind."""
_TOGETHER = {
    AT_MAJORITY: "They score no better than always giving the commonest answer, so as sources they "
    "add noise. Tune them longer or with another learning rate.",
    NOT_MOVED: "For each of them the best prompt is the initial one, because no step scored better "
    "on validation. So their vectors are zero and add nothing. Tune them longer or with another "
    "learning rate, or leave them out.",
}
"""`ADVICE` for several prompts at once."""


def shown(info: BankInfo) -> pd.DataFrame:
    """Return the bank as it is read: columns in words, scores in percent with one decimal."""
    table = info.table[list(SHOWN)].copy()
    for column in ("score", "majority"):
        table[column] = [float(in_percent(share)) for share in table[column].astype(float)]
    table["vector_norm"] = table["vector_norm"].astype(float).round(2)
    return table.rename(columns=SHOWN)


def weak_sentences(info: BankInfo) -> list[str]:
    """Say which prompts cannot help as a source, kind by kind, and what to do."""
    weak = info.weak
    if not len(weak):
        return []
    every = f"{len(info.table):,} prompt{'' if len(info.table) == 1 else 's'}"
    said = [f"{len(weak):,} of {every} cannot help as a source."]
    for state in dict.fromkeys(weak["health"]):
        rows = weak[weak["health"] == state].to_dict("records")
        every_name = Counter(f"{titles.task(r['task'])} (seed {r['seed']})" for r in rows)
        first = list(every_name.items())[:NAMED]
        names = [f"{name} × {count}" if count > 1 else name for name, count in first]
        left = len(rows) - sum(count for _, count in first)
        more = f" and {left:,} more" if left else ""
        advice = ADVICE[state] if len(rows) == 1 else _TOGETHER[state]
        said.append(f"{len(rows):,} {state}: {', '.join(names)}{more}. {advice}")
    return said


def bank_info(prompts: Sequence[TaskPrompt]) -> BankInfo:
    """Describe prompts of the bank."""
    rows = [
        {
            "task": p.task,
            "seed": p.seed,
            "health": health(p),
            "score": np.nan if p.score is None else p.score,
            "majority": np.nan if p.majority is None else p.majority,
            "n_examples": p.n_examples,
            "vector_norm": np.nan if p.init is None else float(np.linalg.norm(p.vector)),
            "init_norm": np.nan if p.init is None else float(np.linalg.norm(p.init)),
            "length": p.prompt.shape[0],
            "width": p.prompt.shape[1],
            "backbone": p.backbone,
            "revision": p.backbone_revision,
            "initial": p.init_fingerprint,
            "steps": p.settings.get("steps"),
            "origin": p.origin,
            "created": pd.Timestamp.fromtimestamp(p.created),
            "identity": p.fingerprint,
        }
        for p in prompts
    ]
    names = [*_COLUMNS] if not rows else list(rows[0])
    return BankInfo(pd.DataFrame(rows, columns=names))


_COLUMNS = (
    "task", "seed", "health", "score", "majority", "n_examples", "vector_norm", "init_norm",
    "length", "width", "backbone", "revision", "initial", "steps", "origin", "created",
    "identity",
)  # fmt: skip


def spaces(prompts: Sequence[TaskPrompt]) -> dict[str, list[TaskPrompt]]:
    """Group prompts that share backbone, shape and initial prompt: only these compare.

    Returns:
        Label → prompts, the largest group first; prompts without a vector are left out.
    """
    found: dict[tuple[str, ...], list[TaskPrompt]] = {}
    for prompt in prompts:
        if prompt.init is not None:
            key = (prompt.backbone, prompt.backbone_revision, prompt.init_fingerprint)
            found.setdefault(key, []).append(prompt)
    ordered = sorted(found.values(), key=len, reverse=True)
    labels: dict[str, list[TaskPrompt]] = {}
    for group in ordered:
        first = group[0]
        backbone = first.backbone.rstrip("/").rsplit("/", 1)[-1]
        length, width = first.prompt.shape
        label = f"{backbone}, seed {first.seed}, {length} × {width}"
        if label in labels:
            label += f" ({first.init_fingerprint[:6]})"
        labels[label] = group
    return labels


def space_info(prompts: Sequence[TaskPrompt]) -> SpaceInfo:
    """Compare task prompt vectors of one space.

    Args:
        prompts: with one initial prompt, as `spaces` groups them.

    Raises:
        DataError: they do not share their initial prompt.
    """
    if len({p.init_fingerprint for p in prompts}) != 1:
        raise DataError(
            "Vectors can be compared only if they share one initial prompt; choose prompts "
            "of one backbone, length and seed."
        )
    names = _names(prompts)
    vectors = np.stack([p.vector for p in prompts]).astype(np.float64)
    pooled = vectors.mean(1)
    dot = pooled @ pooled.T / pooled.shape[1]
    norm = np.sqrt(np.clip(np.diag(dot), 0, None))
    scale = np.where(norm > 0, 1 / np.where(norm > 0, norm, 1), 0)
    flat = vectors.reshape(len(vectors), -1)
    centred = flat - flat.mean(0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    places = np.zeros((len(names), 2))
    count = min(2, len(sizes))
    places[:, :count] = left[:, :count] * sizes[:count]
    total = float((sizes**2).sum()) or 1.0
    shares = [*(float(s**2) / total for s in sizes[:2]), 0.0, 0.0]
    tokens = np.linalg.norm(vectors, axis=-1)
    return SpaceInfo(
        names=names,
        cosine=dot * scale[:, None] * scale[None, :],
        dot=dot,
        map=pd.DataFrame({"name": names, "x": places[:, 0], "y": places[:, 1]}),
        explained=(shares[0], shares[1]),
        token_norms=pd.DataFrame(
            {
                "name": np.repeat(names, tokens.shape[1]),
                "token": np.tile(np.arange(1, tokens.shape[1] + 1), len(names)),
                "norm": tokens.ravel(),
            }
        ),
    )


def _names(prompts: Sequence[TaskPrompt]) -> tuple[str, ...]:
    """Name prompts by task, told apart by steps or identity where tasks repeat."""
    tasks = [p.task for p in prompts]
    return tuple(
        p.task if tasks.count(p.task) == 1 else f"{p.task} {p.fingerprint[:6]}" for p in prompts
    )
