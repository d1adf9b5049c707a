"""Templates of written documents: the HTML report and the model card of an exported prompt.

A template says what stands where; what is said comes from `dtvg/report.py` and
`exchange/outgoing.py`. Everything put into HTML is escaped unless the template says `safe`.
"""

from __future__ import annotations

import functools
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape


def render(template: str, **values: Any) -> str:
    """Fill in a template.

    Args:
        template: name of a file in this folder.
        values: what it needs; one that is missing is an error.
    """
    return _environment().get_template(template).render(**values)


@functools.cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("dtvg", "templates"),
        autoescape=select_autoescape(enabled_extensions=("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
