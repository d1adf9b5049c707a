"""The model card that travels with every exported prompt. Must not import torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dtvg.errors import ConfigError
from dtvg.methods.specs import METHODS
from dtvg.tasks.catalogue import find_task
from dtvg.tasks.spec import TaskSpec

if TYPE_CHECKING:
    from dtvg.exchange.outgoing import Outgoing

CARD = """---
library_name: peft
base_model: {backbone}
tags: [prompt-tuning, dtvg, {task}]
---

# Soft prompt for {title}

{length} virtual tokens of width {width} for the frozen backbone `{backbone}`{revision}, made by
{method}.

| | |
|---|---|
| task | {title} (`{task}`) |
| data | {data} |
| licence of the data | {licence} |
| paper of the data | {paper} |
| input | {text} |
| answers | {answers} |
| score | {score} |
| group | {group} |
{more}
The licence of the data and of the backbone apply to this prompt as well.

## Use

```python
from peft import PeftModel
from transformers import {loader}

model = PeftModel.from_pretrained({loader}.from_pretrained("{backbone}"), "this folder")
```

The prompt stands before everything else{where}. Files `dtvg_prompt.*` hold the initial prompt, so
that `python -m dtvg prompts import` gets the task prompt vector back; PEFT ignores them.
"""


def model_card(out: Outgoing, encoder_decoder: bool) -> str:
    """Write the card of a prompt.

    Args:
        out: the prompt and what is known about it.
        encoder_decoder: family of its backbone.
    """
    try:
        spec: TaskSpec | None = find_task(out.task)
    except ConfigError:
        spec = None
    kind = "AutoModelForSeq2SeqLM" if encoder_decoder else "AutoModelForCausalLM"
    group = "–" if out.group is None else ", ".join(out.group) or "empty"
    more = "".join(f"| {k} | {_cell(v)} |\n" for k, v in out.facts.items() if v not in (None, []))
    revision = f" (revision {out.backbone_revision})" if out.backbone_revision else ""
    return CARD.format(
        backbone=out.backbone,
        revision=revision,
        task=out.task,
        title=spec.title if spec else out.task,
        length=out.prompt.shape[0],
        width=out.prompt.shape[1],
        method=_made_by(out.method),
        data=(spec.dataset if spec else "not known") or "own files",
        licence=(spec.licence if spec else "") or "not known",
        paper=(spec.paper if spec else "") or "not known",
        text=_input_of(spec),
        answers=_answers(spec),
        score=out.score_text,
        group=_cell(group),
        more=more,
        loader=kind,
        where=", in the encoder only" if encoder_decoder else ", BOS included",
    )


def _made_by(method: str) -> str:
    name = method.split("-")[0]
    if name in METHODS:
        return f"{METHODS[name].title} (`{method}`; {METHODS[name].paper})"
    return "prompt tuning (Lester et al. 2021)" if name == "prompt_tuning" else method


def _input_of(spec: TaskSpec | None) -> str:
    if spec is None or not spec.fields:
        return "not known"
    return f"`{spec.name} " + " ".join(f"{word}: …" for word, _ in spec.fields) + "`"


def _answers(spec: TaskSpec | None) -> str:
    if spec is None:
        return "not known"
    pairs = [f"`{word}` {spec.title_of(i)}" for i, word in enumerate(spec.labels)]
    return ", ".join(pairs) or "free text"


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
