"""Versions of what a run's numbers depend on: written when a run is made, checked at resume.

Each covers one thing, so that only what changed is trained anew. A part that a folder does not
name is of version 1. Who can go on with what is said by `dtvg.store.versions`. docs/run_files.md.
"""

from __future__ import annotations

from collections.abc import Mapping

Version = int | str
"""A number that is raised, or the name of a rule (`split.<task>`)."""
Versions = Mapping[str, Version]
"""Part → version: `stage_one`, `rule`, `selection`, `method.<name>`, `text.<task>`, `split.<task>`,
`scoring.<task>`, `few_shot`, `backbone`."""

HUB_COMMIT = "hub_commit"
"""In `versions.json`: the hub's commit that a model was loaded from, where none was asked for."""
FIRST = 1
"""Version of every part that a folder does not name."""
SELECTION = 2
"""Of the best step of a transfer run: 1 kept the earlier of equal scores, 2 takes the lower
validation loss, then the later step."""
STAGE_ONE = 1
"""Of Stage I: raised when the same settings tune another prompt; enters every identity."""
FEW_SHOT = 2
"""Of the few-shot draw: 1 drew the rows of a group one after the other, 2 draws groups first."""
BACKBONE = 2
"""Of how answers and inputs become tokens: since 2, an answer after its input has the space that
text has there, and no tokenizer cuts the start of an input. Most tokenizers do both anyway."""
ENGINE = 5
"""Of the engine, which changes numbers by rounding only, so that nothing is trained anew for it:
1 cut a step by its token budget alone and read validation rows once more for their loss, 2 puts
examples of similar length together and reads such rows once, 3 reckons what a micro-batch costs
from the weights of a layer, as measured, 4 puts several examples into a row on a processor, 5
reckons a GPU's micro-batches from what launching them costs. An experiment keeps its own."""
OF_DATA = ("text", "split", "scoring")
"""Kinds of parts that belong to a task, not to how it is trained."""

_WORDS = {
    "stage_one": "Stage I",
    "rule": "the rule",
    "selection": "how the best step is chosen",
    "few_shot": "the few-shot draw",
    "backbone": "how answers and inputs become tokens of this backbone",
}
_PARTS = {
    "method": "method {}",
    "text": "the text of {}",
    "split": "the splits of {}",
    "scoring": "how {} is scored",
}


def number(versions: Versions, part: str) -> int:
    """Return the version of a part that is numbered."""
    return int(versions.get(part, FIRST))


def words(part: str) -> str:
    """Return what a part is called in a sentence: `method dtvg`, `the text of rte`."""
    kind, _, name = part.partition(".")
    return _PARTS[kind].format(name) if kind in _PARTS else _WORDS.get(part, part)
