"""Simulated stores in which the claims are true, false or open; each is written once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import pytest

from dtvg.analysis.claims.info import ClaimsInfo, claims_info
from dtvg.store.reader import Experiment
from dtvg.testing.made_claims import METHODS, World, write_world

LONE = {"amber": 0.03, "birch": -0.08, "cedar": -0.12}


def best_pair(subset: frozenset[str]) -> float:
    """The first two sources together help, alone and with the third they harm."""
    if subset == {"amber", "birch"}:
        return 0.15
    if len(subset) == 1:
        return LONE[next(iter(subset))]
    return -0.10 if len(subset) == 3 else 0.0


def best_all(subset: frozenset[str]) -> float:
    """All sources together help most, pairs do nothing."""
    return {0: 0.0, 1: 0.05, 2: 0.0, 3: 0.15}[len(subset)]


def by_source(gains: Mapping[str, float]) -> Callable[[frozenset[str]], float]:
    return lambda subset: sum(gains[s] for s in subset)


WON = {"dtvg": 0.15, "dtvg-fixed": 0.03, "dtvg-similarity_only": 0.03}
LOST = {"dtvg": -0.1, "dtvg-fixed": 0.05, "dtvg-similarity_only": 0.05}
SMALL = {"seeds": 5, "examples": 300, "sources": 3, "steps": 60}
GAINS = {"amber": 0.25, "birch": 0.15, "cedar": 0.08, "dune": 0.0, "elm": -0.1, "fern": -0.2}
UP, DOWN = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6), (0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
ALONE = {"seeds": 4, "examples": 400, "sources": 6, "methods": ["none", "single"], "steps": 1}
WORLDS = {
    "true": World(worth=best_pair, dynamic=WON, drift=1.0, **SMALL),  # type: ignore[arg-type]
    "false": World(worth=best_all, dynamic=LOST, **SMALL),  # type: ignore[arg-type]
    "open": World(
        worth=best_pair, dynamic=dict.fromkeys(WON, 0.02), seeds=3, examples=40, sources=3,
        spread=0.08, wander=0.05, steps=60, base=0.4,
    ),
    "vectors": World(worth=by_source(GAINS), vectors=DOWN, prompts=DOWN, **ALONE),  # type: ignore[arg-type]
    "prompts": World(worth=by_source(GAINS), vectors=UP, prompts=UP, **ALONE),  # type: ignore[arg-type]
    "several": World(
        worth=best_all, dynamic=dict.fromkeys(WON, 0.1) | {"dtvg": 0.2}, targets=4, seeds=3,
        examples=120, sources=2, methods=METHODS[:-1], steps=40, base=0.4, between=0.03,
    ),
}  # fmt: skip

Stores = Callable[[str], Experiment]
ClaimsOf = Callable[[str], ClaimsInfo]


@pytest.fixture(autouse=True)
def files_need_not_survive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for the disk is most of what writing a store takes."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    """Return a world's experiment by its name, written when first asked for."""
    root: Path = tmp_path_factory.mktemp("worlds")
    made: dict[str, Experiment] = {}

    def store(name: str) -> Experiment:
        if name not in made:
            with pytest.MonkeyPatch.context() as patched:  # files of a test need not survive
                patched.setattr(os, "fsync", lambda descriptor: None)
                made[name] = write_world(root, WORLDS[name], name)
        return made[name]

    return store


@pytest.fixture(scope="session")
def claims_of(stores: Stores) -> ClaimsOf:
    """Return the claims on a world's experiment, computed when first asked for."""
    return cache(lambda name: claims_info(stores(name).runs))
