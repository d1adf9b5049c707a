"""Learning rates and budget that an entry of `methods:` may carry, and every method's own.

Which of them a run takes is said by `dtvg.config.rates`. docs/methods.md "Rates and budgets".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_serializer


@dataclass(frozen=True)
class OwnRates:
    """Rates of a method where nobody gives any, by what is trained, and whose they are."""

    prompt: float = 1e-3
    scale_target: float = 1e-3
    scale: float = 1e-3
    gate: float = 1e-2
    decay: float = 0.0
    """Weight decay."""
    source: str = "arXiv 2503.18063, Stage II"
    """Paper, or in what the paper's own rates do not apply."""


ADAPTED = OwnRates(source="as dtvg; the paper trains network weights")
"""Of methods whose papers have no rates for prompts."""
GATED = OwnRates(source="as dtvg, gates ours; the paper trains network weights")
PLAIN = OwnRates(prompt=0.3, decay=1e-5, source="Lester et al. 2021; 0.3 for T5 in this line")
"""Of plain prompt tuning, from whatever start."""

ENTRY_FIELDS = {
    "prompt": "lr",
    "scale_target": "lr_scale_target",
    "scale": "lr_scale",
    "gate": "lr_gate",
    "decay": "weight_decay",
}
"""What is trained → the field of a method entry."""
BUDGET = "steps"
WORDS = {"prompt": "prompt", "scale_target": "target scale", "scale": "scales", "gate": "gates"}
"""What is trained, in words."""


class Rated(BaseModel):
    """Rates and budget that may be given; what is not given is left out of every dump."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    lr: float | None = Field(
        None,
        gt=0,
        le=1e30,
        description="Rate of the prompt, for this method alone; empty: as in optim.",
    )
    lr_scale_target: float | None = Field(
        None, gt=0, le=1e30, description="Rate of the target's scale, for this method alone."
    )
    lr_scale: float | None = Field(
        None, gt=0, le=1e30, description="Rate of the sources' scales, for this method alone."
    )
    lr_gate: float | None = Field(
        None,
        gt=0,
        le=1e30,
        description="Rate of gates, assignments and attention, for this method alone.",
    )
    weight_decay: float | None = Field(
        None, ge=0, le=1e6, description="Weight decay, for this method alone."
    )
    steps: int | None = Field(
        None, ge=1, le=10**8, description="Stage II steps of this method, in place of optim.steps."
    )

    @model_serializer(mode="wrap")
    def _without_what_is_not_given(self, handler: Any) -> dict[str, Any]:
        made: dict[str, Any] = handler(self)
        return {k: v for k, v in made.items() if v is not None or k not in OPTIONAL}

    @property
    def given(self) -> dict[str, float]:
        """The rates and the budget that are given, by field."""
        found = {name: getattr(self, name) for name in RATE_FIELDS}
        return {name: value for name, value in found.items() if value is not None}


RATE_FIELDS = tuple(Rated.model_fields)
"""The fields that hold rates and budget."""
TUNED = "tuned"
OPTIONAL = (*RATE_FIELDS, TUNED)
"""Fields that a dump leaves out where they are empty."""


class Tuned(Rated):
    """How the rates of an entry were chosen: on which development target, by how many trials."""

    targets: tuple[str, ...] = Field(min_length=1, description="Development targets.")
    trials: int = Field(ge=1, le=10**9, description="Trials that the choice was made from.")
    date: str = Field(description="When: year, month, day.")
    experiment: str = Field(description="Name of the tuning experiment.")
    fingerprint: str = Field(description="Fingerprint of the tuning experiment's configuration.")

    def belongs_to(self, given: Mapping[str, float]) -> bool:
        """Whether the rates of an entry are still those that were chosen."""
        return dict(given) == self.given
