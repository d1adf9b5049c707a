"""One frozen configuration class per transfer method: name, title, paper and fields.

The same object is a row of a YAML `methods:` list, a group of widgets in the launch form, a
part of a run's stored configuration and of its fingerprint. A new method's class goes into one
of this package's modules and into `METHODS`. Must not import torch: the desk reads it.
METHOD.md "Names"; arXiv 2503.18063, sections 3 and 4.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import BeforeValidator, Field

from dtvg.errors import unknown
from dtvg.methods.specs.base import MethodConfig
from dtvg.methods.specs.grouping import Dtvg
from dtvg.methods.specs.instance import Attempt, Moe
from dtvg.methods.specs.learned import Dmtg, PrimalDual, Relational, Taps
from dtvg.methods.specs.merging import Awd, Consensus, Dare, Mpt, Ties, TpvSum
from dtvg.methods.specs.plain import (
    AllForOne,
    AllSources,
    MptSources,
    NoTransfer,
    PromptTuning,
    Single,
    Spot,
    SpotDynamic,
    TargetOnly,
)
from dtvg.methods.specs.procedures import ForkMerge, Oracle, Surrogate

__all__ = [
    "METHODS",
    "AllForOne",
    "AllSources",
    "AnyMethod",
    "Attempt",
    "Awd",
    "Consensus",
    "Dare",
    "Dmtg",
    "Dtvg",
    "ForkMerge",
    "MethodConfig",
    "Moe",
    "Mpt",
    "MptSources",
    "NoTransfer",
    "Oracle",
    "PrimalDual",
    "PromptTuning",
    "Relational",
    "Single",
    "Spot",
    "SpotDynamic",
    "Taps",
    "TargetOnly",
    "Ties",
    "TpvSum",
]

METHODS: dict[str, type[MethodConfig]] = {
    "none": NoTransfer,
    "target_only": TargetOnly,
    "single": Single,
    "spot": Spot,
    "spot_dynamic": SpotDynamic,
    "all_sources": AllSources,
    "all_for_one": AllForOne,
    "dtvg": Dtvg,
    "tpv_sum": TpvSum,
    "attempt": Attempt,
    "mpt": Mpt,
    "moe": Moe,
    "consensus": Consensus,
    "awd": Awd,
    "ties": Ties,
    "dare": Dare,
    "taps": Taps,
    "dmtg": Dmtg,
    "relational": Relational,
    "primal_dual": PrimalDual,
    "forkmerge": ForkMerge,
    "surrogate": Surrogate,
    "oracle": Oracle,
}
"""Every transfer method by name, in the order lists and forms show them."""


_PREPARING = ("prompt_tuning", "mpt_sources")
"""What runs before the transfer runs; not listed with them."""


def _from_name(value: Any) -> Any:
    """Let `dtvg` stand for `{name: dtvg}`, and name the nearest method for an unknown one."""
    if isinstance(value, str):
        value = {"name": value}
    if isinstance(value, dict):
        name = value.get("name")
        if name not in (*_PREPARING, *METHODS):
            raise ValueError(
                unknown("method", str(name), METHODS, "`python -m dtvg methods list` shows them.")
            )
    return value


if TYPE_CHECKING:
    AnyMethod = MethodConfig
else:
    AnyMethod = Annotated[
        Annotated[
            Union[(*METHODS.values(), PromptTuning, MptSources)],  # noqa: UP007 - the members are a list
            Field(discriminator="name"),
        ],
        BeforeValidator(_from_name),
    ]
