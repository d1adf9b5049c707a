"""Prompt tuning: Stage I of one task, or of a mixture of sources.

Its settings; the code is `dtvg.methods.prompt_tuning`. arXiv 2104.08691.
"""

from __future__ import annotations

from typing import Literal

from dtvg.methods.specs.base import MethodConfig, Needs, Role, Subset


class PromptTuning(MethodConfig):
    """Stage I: plain prompt tuning of one task, or of a mixture, from the initial prompt.

    Not a transfer method and not listed with them; it makes what they start from.
    """

    title = "Prompt tuning (Stage I)"
    paper = "Lester et al. 2021, arXiv 2104.08691"
    summary = "Stage I: the task's own prompt, tuned from the shared initial prompt."
    reads = "nothing"
    rates = "stage_one"
    trains_scales = False
    role = Role.STAGE_ONE

    name: Literal["prompt_tuning"] = "prompt_tuning"

    def needs(self, sources: Subset, target: str, few_shot: bool = False) -> Needs:
        """Nothing but the initial prompt."""
        return Needs()
