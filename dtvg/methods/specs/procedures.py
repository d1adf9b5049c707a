"""Configurations of the procedures: methods that train several prompts to decide about sources.

`oracle` and `surrogate` stand for many runs, one per subset of sources; `forkmerge` trains
branches within one run. Must not import torch. arXiv 2301.12618 (forkmerge), 2303.14582
(surrogate).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field

from dtvg.methods.specs.base import MethodConfig
from dtvg.trials import all_subsets, drawn_subsets


def _names(value: Any) -> Any:
    """Let text such as `mnli, qqp` stand for a list of sources, and sort out repetitions."""
    if isinstance(value, str):
        value = [part for part in value.replace(",", " ").split() if part]
    if isinstance(value, list | tuple) and len(set(value)) < len(value):
        raise ValueError("a source is named twice; name each once")
    return value


class SubsetConfig(MethodConfig):
    """What the methods have in common that merge a subset of sources chosen before training."""

    soft = True

    subset: Annotated[tuple[str, ...] | None, BeforeValidator(_names)] = Field(
        None,
        description="Sources merged at every step, for one subset only; empty: the procedure "
        "itself makes a run for each subset it needs.",
    )

    @property
    def trial(self) -> bool:
        """Whether the run judges one subset."""
        return self.subset is not None

    @property
    def subset_of_sources(self) -> tuple[str, ...]:
        """The sources merged, where the run judges a subset."""
        return self.subset or ()

    @property
    def label(self) -> str:
        """The name, the settings not at default, and the subset."""
        plain = super().label if self.subset is None else self.stackable().label
        return plain if self.subset is None else f"{plain}-of-{'.'.join(self.subset) or 'none'}"

    def named_sources(self) -> tuple[str, ...]:
        """The sources of the subset."""
        return self.subset or ()

    def of(self, subset: tuple[str, ...]) -> Self:
        """Return the configuration of the run that judges a subset."""
        return self.model_copy(update={"subset": subset})

    def chosen(self, sources: tuple[str, ...]) -> tuple[bool, ...] | None:
        """Return which sources the subset has."""
        return None if self.subset is None else tuple(name in self.subset for name in sources)

    def stackable(self) -> Self:
        """The subset differs run by run."""
        return self.model_copy(update={"subset": None})


class Oracle(SubsetConfig):
    """Train on every subset of the sources: the best one is what a grouping could have found."""

    title = "Oracle (every subset)"
    paper = "ours: exhaustive search, the yardstick of every grouping"
    summary = "One run per subset of sources (sampled beyond 6); the best subset is the yardstick."

    name: Literal["oracle"] = "oracle"
    samples: int = Field(
        64, ge=2, le=4096, description="Subsets tried where there are more than 6 sources."
    )
    draw_seed: int = Field(0, ge=0, description="Seed of that sample.")

    def expand(self, sources: tuple[str, ...]) -> tuple[MethodConfig, ...]:
        """Every subset, the empty one included, for up to 6 sources; a sample beyond."""
        if self.subset is not None:
            return (self,) if set(self.subset) <= set(sources) else ()
        if len(sources) <= 6:
            return tuple(self.of(subset) for subset in all_subsets(sources))
        return tuple(self.of(s) for s in drawn_subsets(sources, self.samples, 0.5, self.draw_seed))


class Surrogate(SubsetConfig):
    """Fit a linear model of the score over trained subsets; merge the sources that help."""

    title = "Surrogate model"
    paper = "Surrogate models for negative transfer, arXiv 2303.14582"
    summary = "Runs on sampled subsets, a linear fit of their scores, then the helpful sources."
    derived = True

    name: Literal["surrogate"] = "surrogate"
    samples: int = Field(
        16, ge=2, le=4096, description="Subsets trained; all where there are less."
    )
    include: float = Field(
        0.5, ge=0.1, le=0.9, description="Chance of a source to be in a sampled subset."
    )
    draw_seed: int = Field(0, ge=0, description="Seed of the sample, the same for every run seed.")
    threshold: float = Field(
        0.0, description="A source is kept if its coefficient (in score, 0..1) is above this."
    )
    interval: float = Field(0.95, gt=0, lt=1, description="Coverage of the logged intervals.")

    def trials(self, sources: tuple[str, ...]) -> tuple[Surrogate, ...]:
        """Return the configurations of the runs the fit rests on."""
        drawn = drawn_subsets(sources, self.samples, self.include, self.draw_seed)
        return tuple(self.of(subset) for subset in drawn)

    def expand(self, sources: tuple[str, ...]) -> tuple[MethodConfig, ...]:
        """The trials, then the run on the sources they show to be helpful."""
        if self.subset is not None:
            return (self,) if set(self.subset) <= set(sources) else ()
        return (*self.trials(sources), self) if sources else ()


class ForkMerge(MethodConfig):
    """Fork every K steps into branches with one source each; merge by what validation says."""

    title = "ForkMerge"
    paper = "ForkMerge, arXiv 2301.12618"
    summary = "Branches with no source and with one source each, merged by searched weights."
    soft = True

    name: Literal["forkmerge"] = "forkmerge"
    merge_every: int = Field(
        50, ge=1, description="K: branches are merged after steps K, 2K, ... and at the end."
    )
    grid: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        (0.25, 0.5, 0.75),
        min_length=1,
        description="Weights tried for a branch when it is mixed into what was found so far.",
    )
    search_examples: int = Field(
        100, ge=1, description="Validation rows that decide; at most evaluation.max_examples."
    )

    def prompt_count(self, sources: int) -> int:
        """One prompt per branch."""
        return sources + 1
