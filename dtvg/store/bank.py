"""The prompt bank: tuned task prompts by identity, each trained once.

An entry is a folder `<task>-<identity>` with `prompt.safetensors` and `prompt.json`; the
latter is written last and holds the tensors' checksum. docs/run_files.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from dtvg import paths
from dtvg.errors import StoreError
from dtvg.store import digests
from dtvg.store.files import check_own, json_text, locked, read_json, replace_bytes, replace_json
from dtvg.store.formats import PromptFacts, checked
from dtvg.store.lease import hold_when_free


@dataclass(frozen=True, eq=False)
class TaskPrompt:
    """One task's tuned prompt with its start, score and what it depends on."""

    task: str
    labels: tuple[str, ...]
    backbone: str
    backbone_revision: str
    seed: int
    init: np.ndarray | None
    """`[r d]` float32, P_init; None for an import that came without it."""
    prompt: np.ndarray
    """`[r d]` float32, best on validation."""
    score: float | None
    """On validation; None for an import that did not say."""
    metric_values: dict[str, float]
    fingerprint: str
    """The identity: a hash of everything the numbers depend on."""
    precision: str
    settings: dict[str, Any]
    created: float
    majority: float | None = None
    """Score of always giving the commonest answer of the same rows."""
    n_examples: int | None = None
    """Rows behind `score`."""
    origin: str = "tuned"
    """`tuned`, or where an import came from."""

    @property
    def vector(self) -> np.ndarray:
        """The task prompt vector `[r d]`: prompt − init.

        Raises:
            StoreError: the prompt was imported without its initial prompt.
        """
        if self.init is None:
            raise StoreError(
                f"Prompt '{self.task}' ({self.fingerprint}) came without its initial prompt, so "
                "it has no task prompt vector; only methods that use the prompts "
                "themselves (spot, attempt) can use it. Import it again with --init to get its "
                "vector."
            )
        difference: np.ndarray = self.prompt - self.init
        return difference

    @property
    def init_fingerprint(self) -> str:
        """16 hex digits of the initial prompt's bytes; empty without one."""
        return "" if self.init is None else array_digest(self.init)


def array_digest(array: np.ndarray) -> str:
    """Return 16 hex digits of an array's bytes."""
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def identity(**parts: Any) -> str:
    """Return 16 hex digits that stand for everything a tuned prompt depends on."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def check_compatible(target: TaskPrompt, source: TaskPrompt, vectors: bool = True) -> None:
    """Refuse a source whose prompt or vector means something else than the target's.

    Args:
        target: the target's Stage I prompt.
        source: the prompt to be used as a source.
        vectors: whether vectors are used, so that the initial prompts must agree as well.

    Raises:
        StoreError: other backbone, length, width or initial prompt, with both sides named.
    """
    told = {target.backbone_revision, source.backbone_revision}
    revisions = told - {"", "unknown"}  # the latter: of the hub, before its commit was recorded
    known = len(revisions) == 1 and revisions == told
    may_be = len(revisions) == 1 or (not revisions and "unknown" in told)
    same_backbone = known or (may_be and target.backbone == source.backbone)
    pairs = (
        (
            "backbone",
            f"{target.backbone} ({target.backbone_revision or 'revision unknown'})",
            f"{source.backbone} ({source.backbone_revision or 'revision unknown'})",
            same_backbone,
        ),
        ("prompt length", target.prompt.shape[0], source.prompt.shape[0], None),
        ("width", target.prompt.shape[1], source.prompt.shape[1], None),
        (
            "initial prompt",
            target.init_fingerprint,
            source.init_fingerprint or "unknown",
            None if vectors else True,
        ),
    )
    for what, ours, theirs, same in pairs:
        if not (ours == theirs if same is None else same):
            raise StoreError(
                f"Source prompt '{source.task}' has {what} {theirs}, target prompt "
                f"'{target.task}' has {ours}; vectors can be merged only if both agree. Tune "
                "the source again with the target's backbone, length and seed."
            )


class PromptBank:
    """The folder of tuned prompts; safe for several processes."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or paths.prompts()

    def find(self, key: str) -> TaskPrompt | None:
        """Return the prompt with this identity, or None.

        Raises:
            StoreError: the entry is damaged (checksum).
        """
        for folder in self.root.glob(f"*-{key}"):
            if (folder / "prompt.json").exists():
                found = _read(folder)
                if found.fingerprint != key or folder.name != f"{found.task}-{key}":
                    raise StoreError(
                        f"The folder '{folder.name}' of the bank contains the prompt "
                        f"'{found.task}-{found.fingerprint}'; delete the folder, and the next "
                        "experiment will tune its own prompt again."
                    )
                return found
        return None

    def get(self, prefix: str) -> TaskPrompt:
        """Return the prompt whose identity starts with `prefix`.

        Raises:
            StoreError: none or several do.
        """
        found = [p for p in self.list() if p.fingerprint.startswith(prefix)]
        if len(found) != 1:
            raise StoreError(
                f"{len(found) or 'No'} prompts of the bank have an identity that starts with "
                f"'{prefix}'; `dtvg prompts list` shows them."
            )
        return found[0]

    def put(self, prompt: TaskPrompt) -> None:
        """Add a prompt; an entry with the same identity is replaced.

        Raises:
            StoreError: the bank cannot be written.
        """
        check_own(self.root)
        folder = self.root / f"{prompt.task}-{prompt.fingerprint}"
        tensors = {"prompt": np.ascontiguousarray(prompt.prompt)}
        if prompt.init is not None:
            tensors["init"] = np.ascontiguousarray(prompt.init)
        content = save(tensors)
        replace_bytes(folder / "prompt.safetensors", content)
        facts = {k: v for k, v in prompt.__dict__.items() if k not in ("init", "prompt")}
        facts["sha256"] = hashlib.sha256(content).hexdigest()
        replace_json(folder / "prompt.json", digests.with_digest(json.loads(json_text(facts))))

    def sorted_out(self) -> tuple[list[TaskPrompt], dict[str, str]]:
        """Return every readable prompt, and what is wrong with each damaged entry by its folder."""
        found, damaged = [], {}
        for folder in sorted(self.root.glob("*-*")) if self.root.is_dir() else ():
            try:
                found.append(_read(folder))
            except StoreError as error:
                damaged[folder.name] = str(error)
        return sorted(found, key=lambda p: (p.task, p.seed, p.fingerprint)), damaged

    def list(self) -> list[TaskPrompt]:
        """Return every readable prompt, by task and seed; damaged entries are left out."""
        return self.sorted_out()[0]

    def check(self) -> dict[str, str | None]:
        """Return every entry's folder name with what is wrong with it, None if nothing is."""
        found: dict[str, str | None] = {}
        for folder in sorted(self.root.glob("*-*")) if self.root.is_dir() else ():
            try:
                found[folder.name] = _wrong(_read(folder), folder.name)
            except StoreError as error:
                found[folder.name] = str(error)
        return found

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Be the only process that trains this prompt; waits for another one.

        The system frees the lock of a process that died. Where the file system has no locks a
        lease takes its place, which ends some minutes after its holder's last sign.
        """
        with locked(self.root / ".locks" / key) as held:
            if held:
                yield
                return
        with hold_when_free(self.root / ".locks" / f"{key}.lease"):
            yield

    @contextmanager
    def lock_all(self, keys: Sequence[str]) -> Iterator[None]:
        """Hold several locks; taken in sorted order, so that two processes cannot deadlock."""
        with ExitStack() as stack:
            for key in sorted(set(keys)):
                stack.enter_context(self.lock(key))
            yield


def _wrong(prompt: TaskPrompt, folder: str) -> str | None:
    """Say what is wrong with an undamaged entry."""
    shapes = {a.shape for a in (prompt.prompt, prompt.init) if a is not None}
    if len(shapes) > 1 or any(len(shape) != 2 for shape in shapes):
        return f"prompt and initial prompt have shapes {sorted(map(str, shapes))}, not one [r, d]"
    if not all(np.isfinite(a).all() for a in (prompt.prompt, prompt.init) if a is not None):
        return "it holds numbers that are not finite"
    if folder != f"{prompt.task}-{prompt.fingerprint}":
        return f"the folder says '{folder}', its content '{prompt.task}-{prompt.fingerprint}'"
    return None


def _read(folder: Path) -> TaskPrompt:
    """Read one entry.

    Raises:
        StoreError: it is incomplete or damaged.
    """
    facts = read_json(folder / "prompt.json")
    try:
        content = (folder / "prompt.safetensors").read_bytes()
        if facts is None or not digests.is_whole(facts):
            raise ValueError("checksum of prompt.json differs")
        if hashlib.sha256(content).hexdigest() != facts.pop("sha256"):
            raise ValueError("checksum differs")
        tensors = load(content)
        known = checked(folder / "prompt.json", facts, PromptFacts)
        values = {k: getattr(known, k) for k in PromptFacts.model_fields}
        made = TaskPrompt(init=tensors.get("init"), prompt=tensors["prompt"], **values)
        if any(a.ndim != 2 or a.shape != made.prompt.shape for a in tensors.values()):
            raise ValueError(_wrong(made, folder.name))
        return made
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, StoreError) as error:
        raise StoreError(
            f"Prompt '{folder.name}' of the bank is damaged ({str(error).rstrip('.')}); delete its "
            "folder, and the next experiment will tune it again."
        ) from None


NO_CHANGE = 1e-3
"""A vector shorter than this share of its initial prompt did not move."""
SURE = 1.96
"""Standard errors a score must lie above the commonest answer's to count as learned."""

HEALTHY, AT_MAJORITY, NOT_MOVED, NO_VECTOR, UNKNOWN = (
    "learned",
    "at the commonest answer",
    "did not move",
    "no vector",
    "not known",
)
ADVICE = {
    HEALTHY: "Scores above always giving the commonest answer.",
    AT_MAJORITY: "Scores no better than always giving the commonest answer, so as a source it "
    "adds noise. Tune it longer or with another learning rate.",
    NOT_MOVED: "Its best prompt is the initial one, because no step scored better on validation. "
    "So its vector is zero and adds nothing. Tune it longer or with another learning rate, or "
    "leave it out.",
    NO_VECTOR: "Imported without its initial prompt: only methods that use prompts themselves "
    "(spot, attempt) can take it.",
    UNKNOWN: "Its score is not known.",
}


def health(prompt: TaskPrompt) -> str:
    """Say whether a prompt learned its task; one of `ADVICE`'s keys."""
    if prompt.init is not None:
        moved = float(np.linalg.norm(prompt.vector))
        if moved <= NO_CHANGE * float(np.linalg.norm(prompt.init)):
            return NOT_MOVED
    if prompt.score is not None and prompt.majority is not None:
        rows = prompt.n_examples or 1
        spread = np.sqrt(max(prompt.majority * (1 - prompt.majority), 0.0) / rows)
        if prompt.score <= prompt.majority + SURE * spread:
            return AT_MAJORITY
    if prompt.init is None:
        return NO_VECTOR
    return UNKNOWN if prompt.score is None or prompt.majority is None else HEALTHY


def complaints(sources: dict[str, TaskPrompt]) -> dict[str, str]:
    """Return one sentence for each source whose prompt did not learn, by its name.

    Args:
        sources: prompts by the name of their task.
    """
    found = {name: health(prompt) for name, prompt in sources.items()}
    return {
        name: f"Source {name}: {state}. {ADVICE[state]}"
        for name, state in found.items()
        if state in (AT_MAJORITY, NOT_MOVED)
    }
