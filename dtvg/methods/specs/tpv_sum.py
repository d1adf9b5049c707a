"""Task prompt vectors: start from the initial prompt plus a sum of vectors.

Its settings; the code is `dtvg.methods.tpv_sum`. arXiv 2408.01119.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from dtvg.methods.specs.base import Kind, MethodConfig
from dtvg.methods.specs.rates import PLAIN
from dtvg.names import number_in_name

OWN = "target"
"""Stands for the target's own vector among the coefficients."""


def parse_coefficients(text: str) -> dict[str, float]:
    """Return coefficients by source from text such as `mnli=1, qqp=-0.5`.

    Raises:
        ValueError: an entry that is no `name=number`, or a name twice.
    """
    found: dict[str, float] = {}
    for entry in filter(None, re.split(r"[,\s]+", text.strip())):
        name, equals, number = entry.partition("=")
        try:
            value = float(number)
        except ValueError:
            value = float("nan")
        if not equals or not name or value != value or abs(value) == float("inf"):
            raise ValueError(f"'{entry}' is not a coefficient; write mnli=1, qqp=-0.5")
        if name in found:
            raise ValueError(f"'{name}' has two coefficients; give it only one")
        found[name] = value
    return found


def _coefficients(value: Any) -> Any:
    """Turn a mapping into the text form, and put text into its one spelling."""
    if isinstance(value, Mapping):
        value = ", ".join(f"{name}={number}" for name, number in value.items())
    if isinstance(value, str):
        parsed = parse_coefficients(value)
        return ", ".join(f"{name}={number:.12g}" for name, number in parsed.items()) or None
    return value


class TpvSum(MethodConfig):
    """Start from the initial prompt plus a sum of source vectors, then tune on the target."""

    title = "Task prompt vectors"
    paper = "Task Prompt Vectors, arXiv 2408.01119"
    summary = "Prompt tuning started from the initial prompt plus a sum of source vectors."
    kind = Kind.MERGING
    weights = "given"
    rates = "stage_one"
    own = PLAIN
    trains_scales = False

    name: Literal["tpv_sum"] = "tpv_sum"
    combine: Literal["best_pair", "sum", "given"] = Field(
        "best_pair",
        description="Which vectors are added: the pair whose sum is most similar to the target's "
        "vector, all of them, or those with a given coefficient.",
    )
    coefficients: Annotated[str | None, BeforeValidator(_coefficients)] = Field(
        None,
        description="Given coefficients, e.g. mnli=1, qqp=-0.5; 'target' is the target's own "
        "vector. Sources that are not named get 0.",
    )

    @model_validator(mode="after")
    def _given_needs_coefficients(self) -> Self:
        if (self.combine == "given") != (self.coefficients is not None):
            raise ValueError(
                "'combine: given' and 'coefficients' go together: give both or neither"
            )
        return self

    @property
    def parsed(self) -> dict[str, float]:
        """Coefficients by name; empty unless given."""
        return parse_coefficients(self.coefficients or "")

    @property
    def continues_target(self) -> bool:
        """Only where the target's own vector is among those that are added."""
        return OWN in self.parsed

    @property
    def label(self) -> str:
        """The name, how vectors are combined, each coefficient and rate, in a name's letters."""
        parts: list[str] = [self.name, *([self.combine] if self.combine != "best_pair" else [])]
        parts += [f"{name}{number_in_name(value)}" for name, value in self.parsed.items()]
        for key, value in self.given.items():
            parts.append(f"{key.replace('_', '')}{number_in_name(value)}")
        return "-".join(parts)

    def named_sources(self) -> tuple[str, ...]:
        """Sources that must be among the experiment's."""
        return tuple(name for name in self.parsed if name != OWN)
