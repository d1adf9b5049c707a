"""What identifies an example by content, in stored answers and where they are read.

Must not import torch or streamlit. docs/run_files.md "predictions".
"""

from __future__ import annotations

import hashlib

from dtvg.tasks.spec import Example


def example_fingerprint(example: Example) -> str:
    """Return what identifies an example by content: input, answer and accepted answers."""
    text = "\x1f".join((example.source, example.target, *example.references))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
