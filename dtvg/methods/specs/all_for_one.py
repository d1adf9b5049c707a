"""All for one: start from one prompt tuned on the mixture of all sources.

Its settings; the code is `dtvg.methods.all_for_one`. arXiv 2503.18063.
"""

from __future__ import annotations

from typing import Literal

from dtvg.methods.specs.base import Kind, MethodConfig, Mixture, Needs, Subset
from dtvg.methods.specs.prompt_tuning import PromptTuning
from dtvg.methods.specs.rates import PLAIN


class AllForOne(MethodConfig):
    """One prompt tuned on the examples-proportional mixture of the sources, then transferred."""

    title = "All for one"
    paper = "arXiv 2503.18063; examples-proportional mixing as in arXiv 2110.07904"
    summary = "One prompt tuned on the mixture of all sources, then on the target."
    kind = Kind.BASELINE
    reads = "mixture"
    rates = "stage_one"
    own = PLAIN
    trains_scales = False

    name: Literal["all_for_one"] = "all_for_one"

    def needs(self, sources: Subset, target: str, few_shot: bool = False) -> Needs:
        """Only the prompt tuned on the mixture."""
        return Needs(mixture=Mixture(sources, PromptTuning()))

    @property
    def continues_target(self) -> bool:
        """It goes on from the mixture's prompt."""
        return False

    def budget(self, stage_one: int, transfer: int, equal: bool = False) -> int:
        """Both budgets on the target, which has no Stage I of its own.

        So every row of a comparison has seen the same number of target steps.
        """
        return stage_one + transfer
