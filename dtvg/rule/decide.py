"""THE RULE: from the Gram matrix of scaled pooled vectors to the group of sources.

One implementation in array-API code serves NumPy (replay on a page) and torch (on the
device, inside training); any leading axes (runs, steps) are decided at once and nothing
waits for the device. The Gram matrix is float32; decisions work in float64 on those float32
numbers, so that a logged matrix replays to exactly the logged decision.
Must import neither torch nor streamlit. arXiv 2503.18063, section 3.2; METHOD.md, Stage II.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, get_args

from array_api_compat import array_namespace, device

from dtvg.errors import ConfigError, unknown
from dtvg.methods.specs import Rule
from dtvg.rule.memory import holds, is_stateful
from dtvg.rule.subsets import best_subset, mean_over_pairs, pair_objective, subset_objective

Array = Any
"""A NumPy array or a torch tensor."""

RULES: tuple[str, ...] = get_args(Rule)
"""Rules of `dtvg`, the paper's first."""
KNOWN_RULES: tuple[str, ...] = (*RULES, "nearest")
"""What `decide` understands: `nearest` is how SPoT picks its one source."""


@dataclass(frozen=True, eq=False)
class Grouping:
    """A decision about the sources, with what it rests on; leading axes `...` as in the Gram.

    `similarity`, `rank` and `member` stand in source order; `order` lists source indices by
    falling similarity; `consistency_by_prefix[..., k-1]` is KC(k), 0 beyond the candidates.
    """

    gram: Array
    """`[... m m]` float32, target first."""
    similarity: Array
    """`[... n]` float64: TS(s)."""
    order: Array
    """`[... n]` integer: source indices, most similar first, ties in source order."""
    rank: Array
    """`[... n]` integer: place of each source, 0 = most similar."""
    n_candidates: Array
    """`[...]` integer: sources with similarity at or above the threshold."""
    consistency_by_prefix: Array
    """`[... n]` float64."""
    member: Array
    """`[... n]` bool."""
    consistency_margin: Array
    """`[...]` float64: KC(k*) − max over other k of KC(k); NaN with fewer than two candidates.
    With rule `exact`: lead over the second best subset (NaN: none). With `consistency_only`: over
    the second best of the pairs and the empty group, which counts as 0."""
    rule: str = "greedy"
    settings: dict[str, Any] = field(default_factory=dict)
    held: Array | None = None
    """`[...]` bool: the group is the previous one, kept by `fixed`, between two regroupings or by
    hysteresis; None where no previous group was given."""

    @cached_property
    def candidate(self) -> Array:
        """`[... n]` bool: whether a source may enter the group."""
        return self.rank < self.n_candidates[..., None]

    @cached_property
    def group_size(self) -> Array:
        """`[...]` integer: members of the group."""
        xp = array_namespace(self.member)
        return xp.sum(xp.astype(self.member, xp.int64), axis=-1)

    @cached_property
    def consistency(self) -> Array:
        """`[...]` float64: KC of the actual group, also where it is no prefix."""
        return consistency_of(self.gram, self.member, measure=self._measure)

    @cached_property
    def similarity_margin(self) -> Array:
        """`[... n]` float64: smallest change of one source's similarity, the rest fixed, that
        changes the group; infinite where no change does. Computed when first asked for."""
        from dtvg.rule.margins import similarity_margin

        return similarity_margin(self)

    @property
    def _measure(self) -> str:
        return str(self.settings.get("measure", "dot"))

    def measured_gram(self) -> Array:
        """`[... m m]` float64: the inner products the decision compared (cosines if asked)."""
        xp = array_namespace(self.gram)
        return _measured(xp, xp.astype(self.gram, xp.float64), self._measure)


def pool(vectors: Array, scale: Array) -> Array:
    """Scale per token and take the mean over tokens: `v = mean_r(α ⊙ T)`.

    Args:
        vectors: `[... r d]` task prompt vectors.
        scale: `[... r]` per-token scales.

    Returns:
        `[... d]`, in float32 at least (half precision is widened first).
    """
    xp = array_namespace(vectors)
    if vectors.dtype != xp.float64:
        vectors = xp.astype(vectors, xp.float32, copy=False)
    weights = xp.astype(scale, vectors.dtype, copy=False) / vectors.shape[-2]
    return xp.squeeze(xp.matmul(weights[..., None, :], vectors), axis=-2)


def gram_matrix(
    target_vector: Array, source_vectors: Array, scale_target: Array, scale_sources: Array
) -> Array:
    """Compute the Gram matrix `⟨v_i, v_j⟩ / d` of the scaled pooled vectors, target first.

    Args:
        target_vector: `[... r d]`, `P_t − P_init`.
        source_vectors: `[... n r d]`.
        scale_target: `[... r]`, α_t.
        scale_sources: `[... n r]`, α_s.

    Returns:
        `[... m m]` float32 with m = n + 1, exactly symmetric. In torch no gradient flows
        through it: the grouping takes none.
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
    gram: Array,
    rule: str = "greedy",
    previous: Grouping | Array | None = None,
    step: int | Array | None = None,
    *,
    measure: Literal["dot", "cosine"] = "dot",
    threshold: float = 0.0,
    consistency_weight: float = 1.0,
    exact_over: Literal["sources", "candidates"] = "sources",
    exact_similarity: Literal["mean", "sum"] = "mean",
    regroup_every: int = 1,
    hysteresis: float | None = None,
    hysteresis_unit: Literal["absolute", "relative"] = "absolute",
) -> Grouping:
    """Decide which sources form the group.

    Args:
        gram: `[... m m]` from `gram_matrix`, or a logged one.
        rule: one of `KNOWN_RULES`. `greedy`: among candidates ranked by similarity, the prefix
            with the highest consistency. `similarity_only`: all candidates. `consistency_only`:
            the subset of all sources with the highest consistency (always the closest pair).
            `exact`: the subset maximising mean similarity + λ · consistency. `all_sources`,
            `empty`: what they say. `fixed`: the greedy group of the first step for ever.
            `nearest`: the most similar source alone, whatever the threshold.
        previous: the last decision, or its members `[... n]`; only `fixed`, `regroup_every` and
            `hysteresis` look at it (None: first step).
        step: number of the step decided for, from 1, one for all or `[...]`; step 1 has no
            previous group. None: a later step at which the group may change.
        measure: inner products as they are, or normalised to cosines.
        threshold: smallest similarity of a candidate (the threshold itself counts).
        consistency_weight: λ of `exact`.
        exact_over: `exact` searches all sources or the candidates only.
        exact_similarity: `exact` takes the mean or the sum of the members' similarities.
        regroup_every: k: the group may change at steps 1, 1 + k, 1 + 2k, … only.
        hysteresis: keep a still admissible group unless the best one's objective exceeds its own
            by more than this (see `dtvg.rule.memory.objective`); None: always take the best.
        hysteresis_unit: `relative` takes `hysteresis` as a share of the best objective's size.

    Returns:
        The decision for every leading index.

    Raises:
        ConfigError: unknown rule, a Gram matrix that is not square or has no target row, or
            rule `exact` with more than 20 sources.
    """
    if rule not in KNOWN_RULES:
        raise ConfigError(unknown("grouping rule", rule, KNOWN_RULES))
    if gram.ndim < 2 or gram.shape[-1] != gram.shape[-2] or gram.shape[-1] < 1:
        raise ConfigError(
            f"A Gram matrix has shape [..., m, m] with the target first; got {tuple(gram.shape)}."
        )
    xp = array_namespace(gram)
    wide = _measured(xp, xp.astype(gram, xp.float64), measure)
    similarity = wide[..., 0, 1:]
    order = xp.argsort(-similarity, axis=-1, stable=True)
    rank = xp.argsort(order, axis=-1, stable=True)
    is_candidate = similarity >= threshold
    n_candidates = xp.sum(xp.astype(is_candidate, xp.int64), axis=-1)
    by_prefix, in_reach = _consistency_by_prefix(xp, wide, order, n_candidates)
    settings = {
        "measure": measure,
        "threshold": threshold,
        "consistency_weight": consistency_weight,
        "exact_over": exact_over,
        "exact_similarity": exact_similarity,
        "regroup_every": regroup_every,
        "hysteresis": hysteresis,
        "hysteresis_unit": hysteresis_unit,
    }
    if rule in ("greedy", "fixed"):
        member, margin = _greedy(xp, by_prefix, in_reach, rank, n_candidates)
    else:
        member, margin = _other_rules(xp, rule, wide, is_candidate, rank, settings)
    made = Grouping(
        gram, similarity, order, rank, n_candidates, by_prefix, member, margin, rule, settings
    )
    if previous is None or not is_stateful(rule, regroup_every, hysteresis):
        return made
    held = holds(made, previous.member if isinstance(previous, Grouping) else previous, step)
    return replace(made, member=held[1], held=held[0])


def _other_rules(
    xp: Any, rule: str, wide: Array, is_candidate: Array, rank: Array, settings: dict[str, Any]
) -> tuple[Array, Array]:
    """Return members and margin of every rule but the greedy one."""
    if rule in ("exact", "consistency_only") and rank.shape[-1] > 0:
        if rule == "exact":
            subsets, value = subset_objective(xp, wide, is_candidate, settings)
        else:
            subsets, value = pair_objective(xp, wide)
        return best_subset(xp, subsets, value)
    if rule == "similarity_only":
        member = is_candidate
    elif rule == "all_sources":
        member = xp.ones_like(is_candidate)
    elif rule == "nearest":
        member = rank == 0
    else:
        member = xp.zeros_like(is_candidate)
    return member, xp.full_like(wide[..., 0, 0], xp.nan)


def merge(
    init: Array,
    target_vector: Array,
    source_vectors: Array,
    scale_target: Array,
    scale_sources: Array,
    member: Array,
) -> Array:
    """Merge the group into the target: `P_mix = P_init + α_t ⊙ T_t + Σ_{s∈group} α_s ⊙ T_s`.

    Gradients reach `target_vector`, `scale_target` and the members' `scale_sources`;
    non-members get a zero gradient, not none.

    Args:
        init: `[... r d]`, P_init.
        target_vector: `[... r d]`, P_t − P_init.
        source_vectors: `[... n r d]`.
        scale_target: `[... r]`.
        scale_sources: `[... n r]`.
        member: `[... n]` bool, or weights.

    Returns:
        `[... r d]`.
    """
    xp = array_namespace(init, target_vector)
    weight = xp.astype(member, scale_sources.dtype, copy=False)
    factors = xp.matrix_transpose(scale_sources * weight[..., None])
    by_token = xp.moveaxis(source_vectors, -3, -2)
    shared = xp.squeeze(xp.matmul(factors[..., None, :], by_token), axis=-2)
    return init + scale_target[..., None] * target_vector + shared


def consistency_of(gram: Array, member: Array, measure: str = "dot") -> Array:
    """Consistency of any set of sources: mean over ordered pairs i ≠ j of ⟨v_i, v_j⟩ / d.

    Args:
        gram: `[... m m]`, target first.
        member: `[... n]` bool.
        measure: as in `decide`.

    Returns:
        `[...]` float64; 0 for fewer than two members.
    """
    xp = array_namespace(gram)
    wide = _measured(xp, xp.astype(gram, xp.float64), measure)[..., 1:, 1:]
    return mean_over_pairs(xp, wide, member)


def _detached(array: Array) -> Array:
    return array.detach() if hasattr(array, "detach") else array


def _measured(xp: Any, gram: Array, measure: str) -> Array:
    """Return inner products as they are, or as cosines (0 against a zero vector)."""
    if measure == "dot":
        return gram
    if measure != "cosine":
        raise ConfigError(unknown("similarity measure", measure, ("dot", "cosine")))
    norm = xp.sqrt(xp.clip(xp.linalg.diagonal(gram), 0.0, None))
    inverse = xp.where(norm > 0, 1.0 / xp.where(norm > 0, norm, 1.0), 0.0)
    return gram * inverse[..., :, None] * inverse[..., None, :]


def _consistency_by_prefix(
    xp: Any, gram: Array, order: Array, n_candidates: Array
) -> tuple[Array, Array]:
    """Return KC(k) for k = 1..n `[... n]`, 0 beyond the candidates, and which k are within."""
    n = order.shape[-1]
    places = xp.arange(1, n + 1, device=device(order))
    in_reach = places <= n_candidates[..., None]
    rows = xp.broadcast_to(order[..., :, None], (*order.shape, n))
    pairs = xp.take_along_axis(gram[..., 1:, 1:], rows, axis=-2)
    pairs = xp.take_along_axis(pairs, xp.matrix_transpose(rows), axis=-1)
    added = xp.sum(xp.tril(pairs, k=-1), axis=-1)
    counts = xp.astype(places * (places - 1), xp.float64)
    total = 2.0 * xp.cumulative_sum(added, axis=-1)
    by_prefix = total / xp.where(counts > 0, counts, 1.0)
    return xp.where(in_reach, by_prefix, 0.0), in_reach


def _greedy(
    xp: Any, by_prefix: Array, in_reach: Array, rank: Array, n_candidates: Array
) -> tuple[Array, Array]:
    """Return the members of the best prefix and its lead over the other prefixes."""
    n = by_prefix.shape[-1]
    if n == 0:
        margin = xp.full_like(xp.astype(n_candidates, xp.float64), xp.nan)
        return xp.astype(rank, xp.bool), margin
    value = xp.where(in_reach, by_prefix, -xp.inf)
    best = xp.argmax(value, axis=-1)
    size = xp.minimum(best + 1, n_candidates)
    member = rank < size[..., None]
    places = xp.arange(n, device=device(rank))
    others = xp.where(places == best[..., None], -xp.inf, value)
    known = n_candidates > 1
    lead = xp.where(known, xp.max(value, axis=-1), 0.0)
    lead = lead - xp.where(known, xp.max(others, axis=-1), 0.0)
    return member, xp.where(known, lead, xp.nan)
