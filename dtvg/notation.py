"""One word per thing: the table behind every name in code, columns, pages and docs.

`docs/notation.md` is checked against this table. Imports nothing.
"""

from __future__ import annotations

from typing import NamedTuple


class Term(NamedTuple):
    """One row of the notation table."""

    name: str
    symbol: str
    shape: str
    meaning: str


TERMS: tuple[Term, ...] = (
    Term("batch", "b", "", "examples that share one forward pass"),
    Term("tokens", "t", "", "length of a padded input in tokens"),
    Term("prompt length", "r", "", "number of soft prompt tokens"),
    Term("width", "d", "", "embedding width of the backbone"),
    Term("sources", "n", "", "number of source tasks of a run; m = n + 1 counts the target first"),
    Term("runs", "R", "", "runs trained together in one cohort"),
    Term("soft prompt", "P", "[r, d]", "trained vectors put before the input embeddings"),
    Term("initial prompt", "P_init", "[r, d]", "the one prompt all tasks of a seed start from"),
    Term("task prompt vector", "T = P − P_init", "[r, d]", "what tuning on a task changed"),
    Term("source task", "s", "", "a task with plenty of data whose vector may help"),
    Term("target task", "t", "", "the task the run is for"),
    Term("similarity", "TS(s) = ⟨v_t, v_s⟩ / d", "[n]", "target similarity of a source"),
    Term(
        "rank",
        "",
        "[n]",
        "position of a source in the order of decreasing similarity, 0 = most similar",
    ),
    Term("candidate", "TS(s) ≥ 0", "[n]", "a source that may enter the group"),
    Term("consistency", "KC", "", "mean of ⟨v_i, v_j⟩ / d over ordered pairs of a set of sources"),
    Term("consistency_by_prefix", "KC(k)", "[n]", "consistency of the first k candidates"),
    Term("member", "", "[n]", "a source in the group"),
    Term("group", "k* = argmax KC(k)", "", "the sources merged into the prompt at a step"),
    Term("merge", "", "", "adding the scaled vectors of the group to the scaled target vector"),
    Term("mixed prompt", "P_mix", "[r, d]", "the merged prompt the backbone sees"),
    Term("scale", "α_t, α_s", "[r], [n, r]", "learned per-token scaling of a vector, from 1"),
    Term(
        "weight",
        "",
        "[n]",
        "factor of a source's scaled vector in the merge; 0 or 1 where a group decides",
    ),
    Term("contribution", "", "[n]", "Frobenius norm of what a source adds to the prompt"),
    Term("Gram matrix", "⟨v_i, v_j⟩ / d", "[m, m]", "of scaled pooled vectors, target first"),
    Term("backbone", "", "", "the frozen language model"),
    Term("transfer method", "", "", "how a target's prompt uses the sources"),
    Term("run", "", "", "one target, one method, one seed"),
    Term("cohort", "", "", "runs that share the backbone's forward and backward passes"),
    Term("experiment", "", "", "targets × methods × seeds over one set of sources"),
    Term("prompt bank", "", "", "the store of tuned task prompts, each trained once"),
)
