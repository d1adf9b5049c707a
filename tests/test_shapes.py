"""Under pytest, arrays of another shape or type than is written at a function are refused."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from dtvg.analysis.statistics import holm
from dtvg.methods.mpt import Fit, best_rows
from dtvg.training.optim import clip_factor
from tests import shapes


def test_a_wrong_shape_is_refused_where_torch_would_broadcast_it() -> None:
    prompts, shared = torch.ones(3, 2, 4), torch.ones(2, 4)
    assert best_rows(prompts, shared, torch.ones(3, 4)).shape == (3, 2)
    with pytest.raises(TypeCheckError, match="columns"):
        best_rows(prompts, shared, torch.ones(1, 4))
    with pytest.raises(TypeCheckError, match="limits"):
        clip_factor({"prompt": torch.ones(3, 4)}, torch.ones(3, 1))


def test_a_wrong_shape_in_a_record_is_refused() -> None:
    with pytest.raises(TypeCheckError, match="columns"):
        Fit(torch.ones(2, 4), torch.ones(3, 2), torch.ones(2, 4))


def test_a_wrong_type_of_array_is_refused() -> None:
    assert holm(np.ones(3)).shape == (3,)
    with pytest.raises(TypeCheckError, match="holm"):
        holm(np.ones(3, dtype=np.complex128))


@pytest.mark.parametrize("name", shapes.modules())
def test_every_module_that_annotates_arrays_is_checked(name: str) -> None:
    loader = importlib.import_module(name).__loader__
    assert type(loader).__module__ == "jaxtyping._import_hook"


def test_the_numeric_packages_are_among_them() -> None:
    packages = {name.rsplit(".", 1)[0] for name in shapes.modules()}
    assert {"dtvg.methods", "dtvg.training", "dtvg.backbones", "dtvg.analysis"} <= packages
