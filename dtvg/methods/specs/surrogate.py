"""Surrogate: a linear model of trained subsets chooses the sources.

Its settings; the code is `dtvg.methods.surrogate`. arXiv 2303.14582, sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from pydantic import Field

from dtvg.methods.specs.base import Choice, Kind, MethodConfig, Needs, Subset
from dtvg.methods.specs.rates import ADAPTED
from dtvg.methods.specs.trials import SubsetConfig, drawn_count, drawn_subsets, fit_surrogate


class Surrogate(SubsetConfig):
    """Fit a linear model of the score over trained subsets; search the cut of its coefficients."""

    title = "Surrogate model"
    paper = "Surrogate models for negative transfer, arXiv 2303.14582"
    summary = "Runs on sampled subsets, a linear fit of their scores, then the best cut of it."
    kind = Kind.GROUPING
    own = ADAPTED
    version = 2
    earlier = (1,)

    name: Literal["surrogate"] = "surrogate"
    samples: int = Field(
        16, ge=2, le=4096, description="Subsets to train; all of them where there are fewer."
    )
    include: float = Field(
        0.5, ge=0.1, le=0.9, description="Probability that a source is in a sampled subset."
    )
    draw_seed: int = Field(
        0, ge=0, le=2**63 - 1, description="Seed of the sample, the same for every run seed."
    )
    cut: Literal["searched", "threshold"] = Field(
        "searched",
        description="How many sources are kept, those with the highest coefficients first: as many "
        "as score best on validation, or all above 'threshold'.",
    )
    threshold: float = Field(
        0.0,
        description="A source is kept if its coefficient (on the score scale, 0..1) is above this; "
        "one other than 0 takes the place of the search.",
    )
    interval: float = Field(
        0.95, gt=0, lt=1, description="Confidence level of the logged intervals."
    )

    def trials(self, sources: Subset) -> tuple[Surrogate, ...]:
        """Return the configurations of the runs the fit rests on."""
        drawn = drawn_subsets(sources, self.samples, self.include, self.draw_seed)
        return tuple(self.of(subset) for subset in drawn)

    def expand(self, sources: Subset) -> tuple[MethodConfig, ...]:
        """The trials, then the run on the sources they show to be helpful."""
        if self.subset is not None:
            return (self,) if set(self.subset) <= set(sources) else ()
        return (*self.trials(sources), self) if sources else ()

    def run_count(self, sources: int) -> int:
        """The trials and the run on what they choose."""
        return 1 if self.subset is not None else drawn_count(sources, self.samples) + 1

    @property
    def searches(self) -> bool:
        """Whether the run that chooses trains every cut and keeps the best."""
        return self.cut == "searched" and self.threshold == 0.0 and self.subset is None

    def needs(self, sources: Subset, target: str, few_shot: bool = False) -> Needs:
        """Every task's prompt; the run that chooses also waits for its trials.

        Which sources a branch has is not known before; how many is.
        """
        plain = super().needs(sources, target, few_shot)
        if self.subset is not None:
            return plain
        cuts = tuple(sources[:size] for size in range(len(sources) + 1))
        return replace(plain, trials=self.trials(sources), branches=cuts if self.searches else ())

    def choose(
        self, sources: Subset, trials: Sequence[MethodConfig], scores: Sequence[float]
    ) -> Choice:
        """Return the sources whose coefficient in a linear fit of the scores is high enough.

        Where the cut is searched, also the subsets that every cut of the coefficients keeps.
        """
        subsets = [trial.subset_of_sources or () for trial in trials]
        fit = fit_surrogate(sources, subsets, scores, self.interval)
        kept = fit.kept(self.threshold)
        note = {"subset": list(kept), **fit.to_json()}
        sentence = f"Linear fit of {fit.n_trials} trials keeps {', '.join(kept) or 'none'}."
        chosen = tuple(name in kept for name in sources)
        if not self.searches:
            return Choice(chosen, sentence, note)
        order = sorted(range(len(sources)), key=lambda place: -fit.coefficients[place])
        cuts = tuple(
            tuple(place in order[:size] for place in range(len(sources)))
            for size in range(len(sources) + 1)
        )
        names = ", ".join(sources[place] for place in order)
        sentence = (
            f"Linear fit of {fit.n_trials} trials ranks {names}; every cut is trained and the "
            "best on validation is kept."
        )
        return Choice(chosen, sentence, note, cuts)

    def as_of(self, version: int) -> MethodConfig:
        """Version 1 kept the sources above the threshold."""
        return SurrogateByThreshold.model_construct(**dict(self)) if version == 1 else self


class SurrogateByThreshold(Surrogate):
    """The surrogate as of version 1."""

    @property
    def searches(self) -> bool:
        """It searched nothing."""
        return False
