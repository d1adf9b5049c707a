"""What an array is here, and what is measured on a Gram matrix: cosines and consistency.

`Array` is what NumPy arrays and torch tensors have in common; functions are written against the
array API and give back the kind they got (`A`). docs/method.md, Stage II.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeVar, runtime_checkable

from array_api_compat import array_namespace, is_numpy_array
from jaxtyping import Bool, Float, Float64

from dtvg.errors import ConfigError, unknown

MEASURES = ("dot", "cosine")
"""Inner products as they are, or normalised to cosines."""


@runtime_checkable
class Array(Protocol):
    """A NumPy array or a torch tensor: what the rule itself asks of either."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of every axis."""

    @property
    def ndim(self) -> int:
        """Number of axes."""

    @property
    def dtype(self) -> Any:
        """Type of the entries, in the array's own library."""

    def __getitem__(self, key: Any, /) -> Any: ...
    def __neg__(self) -> Any: ...
    def __invert__(self) -> Any: ...
    def __add__(self, other: Any, /) -> Any: ...
    def __sub__(self, other: Any, /) -> Any: ...
    def __mul__(self, other: Any, /) -> Any: ...
    def __truediv__(self, other: Any, /) -> Any: ...
    def __and__(self, other: Any, /) -> Any: ...
    def __or__(self, other: Any, /) -> Any: ...
    def __lt__(self, other: Any, /) -> Any: ...
    def __le__(self, other: Any, /) -> Any: ...
    def __gt__(self, other: Any, /) -> Any: ...
    def __ge__(self, other: Any, /) -> Any: ...


A = TypeVar("A", bound=Array)
"""The kind of array a function got and gives back."""


_NAMESPACES: dict[type, Any] = {}


def namespace(array: Array) -> Any:
    """Return the array API of an array's library; looked up once for each type of array."""
    kind = type(array)
    if kind not in _NAMESPACES:
        _NAMESPACES[kind] = array_namespace(array)
    return _NAMESPACES[kind]


def root(square: Float64[A, " ..."]) -> Float64[A, " ..."]:
    """Return the correctly rounded square root, the same bits in every library.

    NumPy's is; torch's is off by one bit now and then, which one step of Newton's mends when the
    residual is exact (Dekker's product).
    """
    xp = namespace(square)
    found = xp.sqrt(square)
    if is_numpy_array(square):
        return found
    split = found * 134217729.0  # 2^27 + 1
    high = split - (split - found)
    low = found - high
    product = found * found
    missed = ((high * high - product) + 2.0 * high * low) + low * low
    residual = (square - product) - missed
    usable = (found > 0) & (found < xp.inf)
    step = residual / xp.where(usable, 2.0 * found, 1.0)
    return xp.where(usable, found + step, found)


def measured(gram: Float[A, "... m m"], measure: str = "dot") -> Float64[A, "... m m"]:
    """Return the inner products as they are, or as cosines (0 against a zero vector).

    Raises:
        ConfigError: a measure that is not one of `MEASURES`.
    """
    xp = namespace(gram)
    wide = xp.astype(gram, xp.float64)
    if measure == "dot":
        return wide
    if measure != "cosine":
        raise ConfigError(unknown("similarity measure", measure, MEASURES))
    norm = root(xp.clip(xp.linalg.diagonal(wide), 0.0, None))
    inverse = xp.where(norm > 0, 1.0 / xp.where(norm > 0, norm, 1.0), 0.0)
    return wide * inverse[..., :, None] * inverse[..., None, :]


def mean_over_pairs(inner: Float64[A, "... n n"], member: Bool[A, "... n"]) -> Float64[A, " ..."]:
    """Return KC of any sets: inner products averaged over ordered pairs i ≠ j of members.

    0 below two members.
    """
    xp = namespace(inner)
    weight = xp.astype(member, xp.float64)
    size = xp.sum(weight, axis=-1)
    total = xp.sum(xp.sum(inner * weight[..., None], axis=-2) * weight, axis=-1)
    own = xp.sum(xp.linalg.diagonal(inner) * weight, axis=-1)
    pairs = size * (size - 1)
    return xp.where(pairs > 0, (total - own) / xp.where(pairs > 0, pairs, 1.0), 0.0)


def consistency_of(
    gram: Float[A, "... m m"], member: Bool[A, "... n"], measure: str = "dot"
) -> Float64[A, " ..."]:
    """Return the consistency of any set of sources: mean over ordered pairs of ⟨v_i, v_j⟩ / d.

    Args:
        gram: Gram matrix, target first.
        member: which sources the set holds.
        measure: as in `RuleSettings`.

    Returns:
        0 for fewer than two members.
    """
    return mean_over_pairs(measured(gram, measure)[..., 1:, 1:], member)
