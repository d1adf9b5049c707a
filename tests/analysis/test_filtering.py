"""A typed filter keeps what it says, and says what it could not read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from dtvg.analysis.overview.filtering import parse
from dtvg.errors import ConfigError

FIELDS = ("method", "seed", "state", "tag", "test", "optim.lr_prompt", "optim.lr_scale",
          "data.seed2", "prompt.seed2", "optim.patience", "evaluation.constrained")  # fmt: skip
WORDS = {"state": {"finished", "failed"}, "method": {"dtvg", "dtvg-fixed", "spot"}}


@dataclass
class _Row:
    values: dict[str, Any] = field(default_factory=dict)
    text: str = "rte.dtvg.s0 finished baseline"

    def value(self, key: str) -> Any:
        return self.values.get(key)


ROW = _Row(
    {
        "method": ("dtvg-fixed", "dtvg"),
        "seed": 1,
        "state": "finished",
        "tag": ("paper", "v2"),
        "test": 0.812,
        "optim.lr_prompt": 0.1,
        "evaluation.constrained": True,
    }
)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", True),
        ("method=dtvg seed<2 optim.lr_prompt>=0.1 state=finished tag=paper", True),
        ("method=dtvg-fixed", True),
        ("method=spot", False),
        ("method=spot,dtvg", True),
        ("method!=dtvg", False),
        ("seed<1", False),
        ("seed=0,1", True),
        ("seed=1.0", True),
        ("lr_prompt=1e-1", True),
        ("test>81%", True),
        ("test>=0.82", False),
        ("tag~pap", True),
        ("tag=v1", False),
        ("tag!=v1", True),
        ("state=FINISHED", True),
        ("state=fin*", True),
        ("patience=none", True),
        ("patience>3", False),
        ("constrained=true", True),
        ("BASELINE", True),
        ("'s0 finished'", True),
        ("nowhere", False),
        ('""', True),
        ("'' seed<1", False),
    ],
)
def test_terms_are_joined_by_and_and_commas_mean_or(text: str, kept: bool) -> None:
    assert all(term.accepts(ROW) for term in parse(text, FIELDS, WORDS)) is kept


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("metod=dtvg", "Did you mean 'method'"),
        ("optim.lr_promt>1", "Did you mean 'optim.lr_prompt'"),
        ("lr_promt>1", "Did you mean 'optim.lr_prompt'"),
        ("state=finised", "Did you mean 'finished'"),
        ("seed2=1", "may mean data.seed2 or prompt.seed2"),
        ("seed<", "no value after '<'"),
        ("seed<many", "not a number"),
        ("state<failed", "not a number"),
        ("state<3", "is text"),
        ("=3", "not a whole condition"),
        ("note='open", "never closed"),
        ("note\\", "backslash with nothing behind it"),
    ],
)
def test_a_filter_that_cannot_be_read_says_why_and_what_was_meant(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        parse(text, FIELDS, WORDS)
