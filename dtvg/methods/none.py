"""No transfer: the target's Stage I prompt, tuned on (arXiv 2104.08691).

The start is the target's Stage I prompt.
"""

from __future__ import annotations

from dtvg.methods.base import PlainPrompt


class Method(PlainPrompt):
    """`none`: see the module's first lines."""
