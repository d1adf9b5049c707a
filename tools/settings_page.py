"""Write docs/settings.md from the configuration itself: `python -m tools.settings_page`.

A setting's default, bounds and meaning stand in its field alone (`dtvg/config`); a test compares
the page with what is written here.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from dtvg.config import ExperimentConfig
from dtvg.config.settings_path import Leaf, leaves, write

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
HEAD = """# Settings

Every setting of an experiment, as it stands in YAML, after `--set` (`--set optim.steps=300`), in a
grid and in the launch form. Written by `python -m tools.settings_page` from `dtvg/config`. Where
none is given, the default counts; `null` stands for none. `dtvg run FILE --set optim.patience`
says the same of one setting on the command line. Settings of methods: [methods](methods.md).

```yaml
name: reviews
backbone: smollm2-135m
sources: [yelp, qqp]
targets: [sst2]
methods: [none, all_sources, {name: dtvg, rule: fixed}]
seeds: [0, 1, 2, 3, 4]
optim: {steps: 300}
```
"""
TITLES = {
    "": ("The experiment", ""),
    "backbone": (
        "backbone",
        "The frozen model ([backbones](backbones.md)). A text alone is its name.",
    ),
    "prompt": ("prompt", "The soft prompt ([method](method.md))."),
    "optim": ("optim", "Steps, rates and their schedule, of both stages."),
    "data": ("data", "Rows and how they are written ([tasks](tasks.md))."),
    "evaluation": ("evaluation", "When and how runs are scored."),
    "logging": ("logging", "What is kept ([run files](run_files.md))."),
    "device": ("device", "Where and how precisely is computed ([backbones](backbones.md#speed))."),
    "hypothesis": ("hypothesis", "The one comparison that is declared ([verdicts](verdicts.md))."),
    "scale": (
        "scale",
        "On which machines ([from a laptop to a cluster](scale.md)); part of no run.",
    ),
}
"""Group → its heading and a sentence."""


def page() -> str:
    """Return the whole page."""
    found = sorted(leaves(ExperimentConfig), key=lambda leaf: leaf.group != "")
    parts = [HEAD]
    for group, members in groupby(found, key=lambda leaf: leaf.group):
        title, sentence = TITLES[group]
        rows = [f"| {' | '.join(_row(leaf))} |" for leaf in members]
        table = "\n".join(
            ["| setting | default | takes | what it means |", "|---|---|---|---|", *rows]
        )
        parts.append(
            f"## {title}\n\n{sentence}\n\n{table}\n" if sentence else f"## {title}\n\n{table}\n"
        )
    return "\n".join(parts)


def _row(leaf: Leaf) -> list[str]:
    value = leaf.left_out
    text = f"{list(value)}" if isinstance(value, list | tuple) else write(leaf, value)
    default = "must be given" if leaf.info.is_required() else f"`{text}`" if text else "empty"
    return [f"`{leaf.path}`", default, leaf.allowed(), _plain(leaf)]


def _plain(leaf: Leaf) -> str:
    """Return what a setting means, for a cell of a table."""
    return leaf.description.replace("|", "\\|").replace("<", "\\<")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
