"""Exporting prompts: of the bank, or of a run (best, final, a source), as PEFT adapter folders.

A model card with task, data, method, score, group and licence travels with every export, and
the initial prompt beside it, so that an import here gets the vector back.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from dtvg.backbones.specs import BACKBONES, facts
from dtvg.backbones.speech import ANSWER_MARK
from dtvg.config import DataConfig
from dtvg.errors import ConfigError, StoreError, unknown
from dtvg.exchange.incoming import SIDECAR, TENSORS
from dtvg.exchange.peft_adapter import ELSEWHERE, write_adapter
from dtvg.methods.specs import METHODS, STAGE_ONE
from dtvg.store.bank import TaskPrompt
from dtvg.store.files import replace_bytes, replace_json
from dtvg.store.reader import Run, read_prompts, read_provenance, read_table
from dtvg.store.state_files import kept_prompts
from dtvg.tasks.catalogue import find_task
from dtvg.tasks.converter import Converter
from dtvg.tasks.labels import label_words
from dtvg.tasks.sources import source_of
from dtvg.tasks.spec import TaskSpec
from dtvg.templates import render

WHICH = ("best", "final", "initial")


@dataclass(frozen=True)
class Outgoing:
    """A prompt about to be exported, with everything its card says."""

    task: str
    prompt: np.ndarray
    init: np.ndarray | None
    backbone: str
    backbone_revision: str
    method: str
    """Name of what made it, e.g. `dtvg` or `prompt_tuning`."""
    score: float | None
    score_text: str
    facts: dict[str, Any] = field(default_factory=dict)
    group: tuple[str, ...] | None = None
    """Sources merged at that step; None where nothing is grouped."""
    words: tuple[str, ...] = ()
    """Label words it was tuned to answer, by class; empty: those of the task."""
    template: str = "plain"
    """How inputs were put (`data.template`)."""


def from_bank(prompt: TaskPrompt) -> Outgoing:
    """Take a Stage I prompt of the bank."""
    rows = f" on {prompt.n_examples} rows" if prompt.n_examples else ""
    text = "not known" if prompt.score is None else f"{prompt.score:.4f} (validation{rows})"
    return Outgoing(
        task=prompt.task,
        prompt=prompt.prompt,
        init=prompt.init,
        backbone=prompt.backbone,
        backbone_revision=prompt.backbone_revision,
        method=STAGE_ONE.name if prompt.origin == "tuned" else prompt.origin,
        score=prompt.score,
        score_text=text,
        facts={
            "identity": prompt.fingerprint,
            "seed": prompt.seed,
            "labels": list(prompt.labels),
            "majority": prompt.majority,
            "n_examples": prompt.n_examples,
            **{f"setting {k}": v for k, v in prompt.settings.items()},
        },
        words=prompt.labels,
    )


def from_run(run: Run, which: str = "best") -> Outgoing:
    """Take a prompt of a run.

    Args:
        run: whose.
        which: `best`, `final`, `initial`, or `source:NAME` for a source prompt it started from.

    Raises:
        ConfigError: another `which`, or no such source.
        StoreError: the run has no such prompt (yet), or one that differs from example to
            example.
    """
    config = run.config
    if config is None:
        raise StoreError(f"Run '{run.name}' has no readable configuration; nothing to export.")
    kind, _, source = which.partition(":")
    needed = "initial" in (which, *kept_prompts(config.logging.detail)) or kind == "source"
    start = read_prompts(run, "initial") if needed else {}  # a thinned run keeps its best alone
    provenance = read_provenance(run)
    common: dict[str, Any] = {
        "init": start.get("init"),
        "backbone": config.backbone.name,
        "backbone_revision": str(_metadata(run).get("revision", "")),
        "template": config.data.template,
        "words": _words(source or config.target, config.data),
    }
    facts_of = {"run": f"{run.experiment}/{run.name}", "seed": run.seed}
    facts_of |= {"dtvg": provenance.get("dtvg"), "commit": provenance.get("commit")}
    if kind == "source":
        if source not in config.sources:
            raise ConfigError(unknown("source", source, config.sources))
        vector = start["source_vectors"][config.sources.index(source)]
        prompt = start["init"] + vector
        text = "see the run"
        return Outgoing(
            source, prompt, method=STAGE_ONE.name, score=None, score_text=text,
            facts=facts_of, **common,
        )  # fmt: skip
    if which not in WHICH:
        raise ConfigError(unknown("prompt of a run", which, [*WHICH, "source:NAME"]))
    if config.method.instance_wise:
        raise StoreError(
            f"Method '{run.method}' makes a different prompt for every example, so run "
            f"'{run.name}' has no single one to export (mixed_prompt in its files is their mean); "
            "export a prompt it mixes with source:NAME."
        )
    tensors = start if which == "initial" else read_prompts(run, which)
    result = run.result
    score = None if result is None or which != "best" else result.test_score
    text = "not known" if score is None else f"{score:.4f} (test, best validation step)"
    step = {"initial": 0, "final": run.step, "best": result.best_step if result else None}[which]
    return Outgoing(
        task=config.target,
        prompt=tensors["mixed_prompt"],
        method=run.method,
        score=score,
        score_text=text,
        facts={**facts_of, "prompt": which, "step": step},
        group=_group_at(run, step),
        **common,
    )


def _words(task: str, data: DataConfig) -> tuple[str, ...]:
    """Return the label words that settings have for a task; those given for it where it is gone."""
    try:
        return label_words(find_task(task), data.labels, data.label_words)
    except ConfigError:
        return tuple(data.label_words.get(task, ()))


def export(out: Outgoing, folder: Path) -> Path:
    """Write an adapter folder that `PeftModel.from_pretrained` loads; return it.

    Raises:
        ConfigError: the backbone's family is not known here.
        StoreError: the folder cannot be written.
    """
    sizes = facts(out.backbone)
    known = BACKBONES.get(out.backbone)
    if sizes is None and known is None:
        raise ConfigError(
            f"Backbone '{out.backbone}' is neither on this disk nor a known hub id, so PEFT's "
            "task type is not known; put its config.json into a folder of that name."
        )
    family = sizes.encoder_decoder if sizes else known is not None and "encoder" in known.family
    more = {"num_layers": sizes.layers} if sizes else {}
    more |= {"num_attention_heads": sizes.heads} if sizes and sizes.heads else {}
    write_adapter(folder, out.prompt, out.backbone, family, **more)
    tensors = {"prompt": np.ascontiguousarray(out.prompt, dtype=np.float32)}
    if out.init is not None:
        tensors["init"] = np.ascontiguousarray(out.init, dtype=np.float32)
    replace_bytes(folder / TENSORS, save(tensors), advice=ELSEWHERE)
    replace_json(
        folder / SIDECAR,
        {
            "task": out.task,
            "method": out.method,
            "backbone": out.backbone,
            "backbone_revision": out.backbone_revision,
            "score": out.score,
            "group": None if out.group is None else list(out.group),
            "labels": list(out.words),
            **out.facts,
        },
        advice=ELSEWHERE,
    )
    replace_bytes(folder / "README.md", model_card(out, family).encode(), advice=ELSEWHERE)
    return folder


def as_zip(folder: Path) -> bytes:
    """Return a folder's files as a zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, f"{folder.name}/{path.name}")
    return buffer.getvalue()


def _group_at(run: Run, step: int | None) -> tuple[str, ...] | None:
    """Return the sources in the group at a step, nearest before it; None without grouping."""
    if step is None or not run.sources or not run.directory.table_dir("sources").is_dir():
        return None
    rows = read_table(run, "sources", ["step", "source", "member"], last=max(step, 1)).to_pandas()
    if rows.empty:
        return None
    rows = rows[rows["step"] == rows["step"].max()]
    return tuple(rows.loc[rows["member"], "source"])


def _metadata(run: Run) -> dict[str, str]:
    """Return the facts stored beside a run's tensors."""
    from safetensors import SafetensorError, safe_open

    for which in ("best", "final"):
        path = run.directory.prompts_dir / f"{which}.safetensors"
        try:
            with safe_open(path, framework="np") as file:
                return dict(file.metadata() or {})
        except (OSError, SafetensorError):
            continue
    return {}


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
    group = "–" if out.group is None else ", ".join(out.group) or "empty"
    return render(
        "model_card.md.j2",
        backbone=out.backbone,
        revision=out.backbone_revision,
        encoder_decoder=encoder_decoder,
        mark=ANSWER_MARK,
        loader="AutoModelForSeq2SeqLM" if encoder_decoder else "AutoModelForCausalLM",
        task=out.task,
        title=spec.title if spec else out.task,
        length=out.prompt.shape[0],
        width=out.prompt.shape[1],
        method=_made_by(out.method),
        data=(spec.dataset if spec else "not known") or "own files",
        licence=(spec.licence if spec else "") or "not known",
        paper=(spec.paper if spec else "") or "not known",
        input=_input_of(spec, out.template),
        answers=_answers(spec, out.words),
        plain=out.template == "plain",
        score=out.score_text,
        group=_cell(group),
        facts=[(k, _cell(v)) for k, v in out.facts.items() if v not in (None, [])],
    )


def _made_by(method: str) -> str:
    name = method.split("-")[0]
    if name in METHODS:
        return f"{METHODS[name].title} (`{method}`; {METHODS[name].paper})"
    return "prompt tuning (Lester et al. 2021)" if name == STAGE_ONE.name else method


def _input_of(spec: TaskSpec | None, template: str = "plain") -> str:
    """Return how what the model reads is composed, as the task's rows are read and put."""
    put = "" if template == "plain" else ", as a user's message in the tokenizer's chat template"
    return _text_of(spec) + put


def _text_of(spec: TaskSpec | None) -> str:
    if spec is None or not spec.fields:
        return "not known"
    if isinstance(spec.convert, Converter):
        text = "".join(literal + ("…" if column else "") for literal, column in spec.convert.pieces)
        return f"`{_cell(text)}`"
    if not source_of(spec).prefixed:
        return "the text of a row as it stands, with nothing before it"
    return f"`{spec.name} " + " ".join(f"{word}: …" for word, _ in spec.fields) + "`"


def _answers(spec: TaskSpec | None, words: tuple[str, ...]) -> str:
    """Return the words that were tuned for, with the names of their classes."""
    if spec is None and not words:
        return "not known"
    named = words or (spec.labels if spec else ())
    titled = spec is not None and len(named) == len(spec.labels)
    pairs = [f"`{word}` {spec.title_of(i) if titled and spec else ''}".rstrip()
             for i, word in enumerate(named)]  # fmt: skip
    return ", ".join(pairs) or "free text"


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
