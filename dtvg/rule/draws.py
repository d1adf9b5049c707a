"""Chance in the rule: numbers that depend on a run's seed and a step, and on nothing else.

Integers are mixed by a 32-bit hash that NumPy and torch compute alike, so that training, a
resume and a replay of the log draw the same. docs/method.md, "Controls".
"""

from __future__ import annotations

from typing import Any

from array_api_compat import device
from jaxtyping import Int

from dtvg.rule.arrays import A, namespace

_MASK = 0xFFFFFFFF
_GOLDEN = 0x9E3779B9
_PLACES, _STEPS = 0x85EBCA6B, 0xC2B2AE35
"""Tell the two kinds of draws apart."""


def _mixed(word: Any) -> Any:
    """Spread 32-bit words over all 32-bit words (Wellons' hash; no product exceeds 63 bits)."""
    word = word & _MASK
    word = ((word ^ (word >> 16)) * 0x21F0AAAD) & _MASK
    word = ((word ^ (word >> 15)) * 0x735A2D97) & _MASK
    return word ^ (word >> 15)


def _keyed(like: Any, salt: int, seed: Any, number: Any) -> Any:
    """Return one word for each seed and number."""
    xp, where = namespace(like), device(like)
    seed, number = (
        xp.astype(xp.asarray(a, device=where), xp.int64, copy=False) for a in (seed, number)
    )
    word = _mixed((seed & _MASK) ^ salt)
    word = _mixed(word ^ ((seed >> 32) & 0x7FFFFFFF))
    return _mixed(word + number * _GOLDEN)


def draw_places(like: A, shape: tuple[int, ...], seed: int | A, step: int | A) -> Int[A, "... n"]:
    """Return a number for every place of a ranking; the k lowest are a random k-subset.

    Args:
        like: gives library and device.
        shape: `(*leading, n)`.
        seed: of the run, one or one for each leading index.
        step: counted from 1, one or one each.
    """
    xp = namespace(like)
    word = _keyed(like, _PLACES, seed, step)
    places = xp.arange(1, shape[-1] + 1, device=device(like))
    drawn = _mixed(word[..., None] + places * _GOLDEN)
    return xp.broadcast_to(drawn, shape)


def draw_offset(like: A, seed: int | A, block: int | A, length: int) -> Int[A, " ..."]:
    """Return at which of the `length` steps of a block of steps something happens, from 0.

    Args:
        like: gives library and device.
        seed: of the run.
        block: number of the block.
        length: steps of a block.
    """
    return _keyed(like, _STEPS, seed, block) % length
