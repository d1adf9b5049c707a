"""One frozen configuration class per transfer method: name, title, paper, fields and needs.

The same object is a row of a YAML `methods:` list, a group of widgets in the launch form, a
part of a run's stored configuration and of its fingerprint. Each method has one file here,
named as its code in `dtvg.methods`, and a row in `METHODS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import BeforeValidator, Field, ValidationInfo

from dtvg.errors import unknown
from dtvg.methods.specs.all_for_one import AllForOne
from dtvg.methods.specs.all_sources import AllSources
from dtvg.methods.specs.attempt import Attempt
from dtvg.methods.specs.awd import Awd
from dtvg.methods.specs.base import (
    STORED,
    Choice,
    Kind,
    MethodConfig,
    Mixture,
    Needs,
    Role,
    StageOne,
    Subset,
)
from dtvg.methods.specs.consensus import Consensus
from dtvg.methods.specs.dare import Dare
from dtvg.methods.specs.dmtg import Dmtg
from dtvg.methods.specs.dtvg import Dtvg
from dtvg.methods.specs.forkmerge import ForkMerge
from dtvg.methods.specs.moe import Moe
from dtvg.methods.specs.mpt import Mpt
from dtvg.methods.specs.mpt_sources import MptSources
from dtvg.methods.specs.none import NoTransfer
from dtvg.methods.specs.oracle import Oracle
from dtvg.methods.specs.packages import found_methods, warn
from dtvg.methods.specs.primal_dual import PrimalDual
from dtvg.methods.specs.prompt_tuning import PromptTuning
from dtvg.methods.specs.relational import Relational
from dtvg.methods.specs.single import Single
from dtvg.methods.specs.spot import Spot
from dtvg.methods.specs.spot_dynamic import SpotDynamic
from dtvg.methods.specs.surrogate import Surrogate
from dtvg.methods.specs.taps import Taps
from dtvg.methods.specs.target_only import TargetOnly
from dtvg.methods.specs.ties import Ties
from dtvg.methods.specs.tpv_sum import TpvSum

__all__ = [
    "METHODS",
    "OWN_METHODS",
    "PROBLEMS",
    "STAGE_ONE",
    "AllForOne",
    "AllSources",
    "AnyMethod",
    "Attempt",
    "Awd",
    "Choice",
    "Consensus",
    "Dare",
    "Dmtg",
    "Dtvg",
    "ForkMerge",
    "Kind",
    "MethodConfig",
    "Mixture",
    "Moe",
    "Mpt",
    "MptSources",
    "Needs",
    "NoTransfer",
    "Oracle",
    "PrimalDual",
    "PromptTuning",
    "Relational",
    "Role",
    "Single",
    "Spot",
    "SpotDynamic",
    "StageOne",
    "Subset",
    "Surrogate",
    "Taps",
    "TargetOnly",
    "Ties",
    "TpvSum",
    "by_kind",
    "role_of",
]

STAGE_ONE = PromptTuning()
"""How a task's own prompt is tuned in Stage I, and a mixture's where a method asks for no more."""


def _name_of(spec: type[MethodConfig]) -> str:
    return str(spec.model_fields["name"].default)


OWN_METHODS: dict[str, type[MethodConfig]] = {
    _name_of(spec): spec
    for spec in (
        NoTransfer,
        TargetOnly,
        Single,
        Spot,
        SpotDynamic,
        AllSources,
        AllForOne,
        Dtvg,
        TpvSum,
        Attempt,
        Mpt,
        Moe,
        Consensus,
        Awd,
        Ties,
        Dare,
        Taps,
        Dmtg,
        Relational,
        PrimalDual,
        ForkMerge,
        Surrogate,
        Oracle,
    )
}
"""The transfer methods of this package by name, in the order lists and forms show them."""

_TUNING: tuple[type[MethodConfig], ...] = (
    PromptTuning,
    *(one for spec in OWN_METHODS.values() for one in spec.prepares),
)
_found, PROBLEMS = found_methods({*OWN_METHODS, *map(_name_of, _TUNING)})
"""`PROBLEMS`: a sentence for each method of another package that cannot be used."""
warn(PROBLEMS)

METHODS: dict[str, type[MethodConfig]] = {**OWN_METHODS, **_found}
"""Every transfer method by name: ours, then those of other packages."""


def by_kind() -> dict[Kind, tuple[str, ...]]:
    """Return the names of the methods of each kind that has any, in the order of `METHODS`."""
    found = {kind: tuple(n for n, spec in METHODS.items() if spec.kind is kind) for kind in Kind}
    return {kind: names for kind, names in found.items() if names}


PREPARING: dict[str, type[MethodConfig]] = {
    _name_of(spec): spec
    for spec in (*_TUNING, *(one for spec in _found.values() for one in spec.prepares))
}
"""What trains before the transfer runs, by name; not listed with them."""


def role_of(method_name: str, on_subset: bool = False) -> Role:
    """Return what a run of a method is for, also of one whose package is not installed.

    Args:
        method_name: the method's name.
        on_subset: whether the run judges one subset of the sources.
    """
    spec = METHODS.get(method_name) or PREPARING.get(method_name) or MethodConfig
    return spec.role_of(on_subset)


def _from_name(value: Any, info: ValidationInfo) -> Any:
    """Let `dtvg` stand for `{name: dtvg}`, and name the nearest method for an unknown one; of
    something stored, the package is what is missing."""
    if isinstance(value, str):
        value = {"name": value}
    if isinstance(value, dict):
        name = value.get("name")
        if name is None:
            raise ValueError(
                "this entry has no 'name', so it is not known which method it sets; write it as "
                "{name: dtvg} with what it sets. `dtvg methods list` shows the names."
            )
        if name not in PREPARING and name not in METHODS:
            if info.context == STORED:
                raise ValueError(
                    f"the method '{name}' is of a package that is not installed here, or of "
                    "a later version of dtvg; install that"
                )
            raise ValueError(
                unknown("method", str(name), METHODS, "`dtvg methods list` shows them.")
            )
    return value


if TYPE_CHECKING:
    AnyMethod = MethodConfig
else:
    AnyMethod = Annotated[
        Annotated[
            Union[(*METHODS.values(), *PREPARING.values())],  # noqa: UP007 - the members are a list
            Field(discriminator="name"),
        ],
        BeforeValidator(_from_name),
    ]
