"""From vectors to a Gram matrix, from the Gram matrix to a group, from the group to a prompt.

Any leading axes (runs, steps) are decided at once and nothing waits for the device. The Gram
matrix is float32; decisions work in float64 on those float32 numbers, so that a logged matrix
replays to exactly the logged decision. arXiv 2503.18063, section 3.2; docs/method.md, Stage II.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from jaxtyping import Bool, Float, Float32, Int

from dtvg.rule.arrays import A
from dtvg.rule.draws import draw_places
from dtvg.rule.memory import has_memory, holds, joined, may_regroup, regrouped_at
from dtvg.rule.ranking import rank_sources
from dtvg.rule.rules import rule_of
from dtvg.rule.types import Grouping, RuleSettings

CHUNK = 4096
"""Steps of a log decided at once."""


def pool(vectors: Float[A, "... r d"], scale: Float[A, "... r"]) -> Float[A, "... d"]:
    """Scale per token and take the mean over tokens: `v = mean_r(α ⊙ T)`.

    Args:
        vectors: task prompt vectors.
        scale: per-token scales.

    Returns:
        In float32 at least (half precision is widened first).
    """
    xp = array_namespace(vectors)
    if vectors.dtype != xp.float64:
        vectors = xp.astype(vectors, xp.float32, copy=False)
    weights = xp.astype(scale, vectors.dtype, copy=False) / vectors.shape[-2]
    return xp.squeeze(xp.matmul(weights[..., None, :], vectors), axis=-2)


def gram_matrix(
    target_vector: Float[A, "... r d"],
    source_vectors: Float[A, "... n r d"],
    scale_target: Float[A, "... r"],
    scale_sources: Float[A, "... n r"],
) -> Float32[A, "... m m"]:
    """Compute the Gram matrix `⟨v_i, v_j⟩ / d` of the scaled pooled vectors, target first.

    Args:
        target_vector: `P_t − P_init`.
        source_vectors: T_s of every source.
        scale_target: α_t.
        scale_sources: α_s.

    Returns:
        Exactly symmetric, m = n + 1. In torch no gradient flows through it: the grouping takes
        none.
    """
    xp = array_namespace(target_vector, source_vectors)
    target_vector, source_vectors, scale_target, scale_sources = (
        _detached(a) for a in (target_vector, source_vectors, scale_target, scale_sources)
    )
    pooled = xp.concat(
        [
            pool(target_vector, scale_target)[..., None, :],
            pool(source_vectors, scale_sources),
        ],
        axis=-2,
    )
    gram = xp.matmul(pooled, xp.matrix_transpose(pooled)) / pooled.shape[-1]
    upper = xp.triu(gram)
    gram = upper + xp.matrix_transpose(xp.triu(gram, k=1))
    return xp.astype(gram, xp.float32, copy=False)


def decide(
    gram: Float[A, " ..."],
    rule: str | RuleSettings = "greedy",
    previous: Grouping[A] | Bool[A, "... n"] | None = None,
    step: int | Int[A, " ..."] | None = None,
    seed: int | Int[A, " ..."] = 0,
    **settings: Any,
) -> Grouping[A]:
    """Decide which sources form the group, for every leading index.

    Args:
        gram: `[... m m]` from `gram_matrix`, or a logged one.
        rule: name of a rule (`dtvg.rule.rules.RULES` says what each one takes), or all settings.
        previous: the last decision, or its members; only rules with a memory (`fixed`,
            `regroup_every`, `hysteresis`) look at it (None: first step).
        step: number of the step decided for, from 1, one for all or one each; step 1 has no
            previous group. None: a later step at which the group may change.
        seed: of the run, one for all or one each; only rules and schedules that draw look at it.
        **settings: fields of `RuleSettings` that differ from `rule`'s.

    Raises:
        ConfigError: unknown rule, setting or value, a Gram matrix that is not square or has no
            target row, or rule `exact` with more than 20 sources.
    """
    chosen = RuleSettings.of(rule, **settings)
    entry = rule_of(chosen)
    ranking = rank_sources(gram, chosen)
    if entry.draws:
        number = 1 if step is None else step
        shape = tuple(ranking.similarity.shape)
        ranking = replace(ranking, draws=draw_places(gram, shape, seed, number))
    member, margin = entry.choose(ranking)
    made = Grouping(
        gram=gram,
        similarity=ranking.similarity,
        order=ranking.order,
        rank=ranking.rank,
        n_candidates=ranking.n_candidates,
        consistency_by_prefix=ranking.consistency_by_prefix,
        settings=chosen,
        entry=entry,
        member=member,
        consistency_margin=margin,
        rule=entry.name,
        squares=ranking.squares,
        draws=ranking.draws,
    )
    if previous is None or not has_memory(chosen):
        return made
    before = previous.member if isinstance(previous, Grouping) else previous
    held, between, member = holds(made, before, step, seed)
    return replace(made, member=member, held=held, between=between)


def decide_steps(
    grams: Float[np.ndarray, "S m m"],
    steps: Int[np.ndarray, " S"],
    rule: str | RuleSettings = "greedy",
    chunk: int = CHUNK,
    seed: int = 0,
    **settings: Any,
) -> Grouping[np.ndarray]:
    """Decide every step of one run's log, each with the group of the step before.

    Equal to calling `decide` step by step with `previous` and `step`, but rules without a memory
    are decided all at once, and hysteresis looks ahead instead of walking.

    Args:
        grams: of consecutive steps from the run's first on.
        steps: their numbers.
        rule: as in `decide`.
        chunk: steps decided at once (rule `exact` holds all subsets for each).
        seed: of the run.
        **settings: as in `decide`.
    """
    chosen, steps = RuleSettings.of(rule, **settings), np.asarray(steps)
    starts = range(0, max(1, len(grams)), chunk)
    parts = [
        decide(grams[i : i + chunk], chosen, step=steps[i : i + chunk], seed=seed) for i in starts
    ]
    fresh = parts[0] if len(parts) == 1 else joined(parts)
    if not has_memory(chosen) or not len(grams):
        return fresh
    source = regrouped_at(fresh, steps, seed)
    member = np.asarray(fresh.member)[source]
    between = ~may_regroup(chosen, steps, seed)
    return replace(fresh, member=member, held=source != np.arange(len(steps)), between=between)


def merge(
    init: Float[A, "... r d"],
    target_vector: Float[A, "... r d"],
    source_vectors: Float[A, "... n r d"],
    scale_target: Float[A, "... r"],
    scale_sources: Float[A, "... n r"],
    member: Bool[A, "... n"] | Float[A, "... n"],
) -> Float[A, "... r d"]:
    """Merge the group into the target: `P_mix = P_init + α_t ⊙ T_t + Σ_{s∈group} α_s ⊙ T_s`.

    Gradients reach `target_vector`, `scale_target` and the members' `scale_sources`;
    non-members get a zero gradient, not none.

    Args:
        init: P_init.
        target_vector: `P_t − P_init`.
        source_vectors: T_s of every source.
        scale_target: α_t.
        scale_sources: α_s.
        member: which sources, or weights.
    """
    xp = array_namespace(init, target_vector)
    weight = xp.astype(member, scale_sources.dtype, copy=False)
    factors = xp.matrix_transpose(scale_sources * weight[..., None])
    by_token = xp.moveaxis(source_vectors, -3, -2)
    shared = xp.squeeze(xp.matmul(factors[..., None, :], by_token), axis=-2)
    return init + scale_target[..., None] * target_vector + shared


def _detached(array: Any) -> Any:
    return array.detach() if hasattr(array, "detach") else array
