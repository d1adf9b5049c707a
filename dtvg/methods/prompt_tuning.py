"""Stage I: plain prompt tuning from the initial prompt (Lester et al. 2021).

The start is the initial prompt, handed in as `target_prompt`.
"""

from __future__ import annotations

from dtvg.methods.base import PlainPrompt


class Method(PlainPrompt):
    """`prompt_tuning`: see the module's first lines."""
