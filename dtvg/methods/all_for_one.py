"""All for one: start from one prompt tuned on the mixture of all sources.

Stage I of the mixture draws each example from the union of the sources' training rows
(examples-proportional); Stage II is plain prompt tuning on the target. arXiv 2503.18063,
baselines.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from dtvg.errors import ConfigError
from dtvg.methods.base import Inputs, PlainPrompt


class Method(PlainPrompt):
    """`all_for_one`: see the module's first lines."""

    def start(self, inputs: Inputs) -> tuple[Tensor, list[dict[str, Any]]]:
        """Return the mixture's prompt.

        Raises:
            ConfigError: if the mixture was not tuned.
        """
        if inputs.mixture_prompt is None:
            raise ConfigError(
                "Method 'all_for_one' starts from a prompt tuned on the mixture of the sources, "
                "but none was given; let the experiment tune it first."
            )
        return inputs.mixture_prompt, []
