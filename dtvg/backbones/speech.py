"""How a tokenizer writes answers and reads inputs, and what it cannot write or read.

An answer that is not the same after encoding and decoding can never be given: its score is 0
without a word from any metric. The desk asks the tokenizer's file, a run its backbone. Imports
neither torch nor transformers. docs/backbones.md "What cannot be answered".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dtvg.tasks.metrics import score
from dtvg.tasks.scoring import normal
from dtvg.tasks.spec import Example, TaskSpec

ANSWER_MARK = " answer:"
"""Stands between input and answer where one sequence holds both; it ends without a space, which
belongs to the answer's first token."""
SAMPLE = 200
"""Examples that are written and read again."""
WORTH_KNOWING = 0.01
"""Share of unknown tokens in inputs from which on it is said before and during a run."""

Ids = list[list[int]]


@dataclass(frozen=True)
class Speech:
    """One tokenizer, as far as answers and inputs are concerned; no special tokens anywhere."""

    name: str
    """The backbone's, for messages."""
    encode: Callable[[Sequence[str]], Ids]
    decode: Callable[[Ids], list[str]]
    """Texts as answers are decoded."""
    unknown: int | None
    """Id of the unknown token; None where every text can be written."""
    spaced: bool = False
    """Whether answers are encoded with the space before them; see `needs_space`."""
    joined: bool = False
    """Whether input and answer are one sequence."""

    def answers(self, texts: Sequence[str]) -> Ids:
        """Return the ids of answers as they are trained on and generated, without end marks."""
        return self.encode(answer_texts(texts, self.joined, self.spaced))


def needs_space(ids: Callable[[str], Sequence[int]], before: str = ANSWER_MARK) -> bool:
    """Whether a word after `before` is written with the space before it (`Ġyes`).

    So with byte-level BPE, and with sentencepiece that puts no space of its own before a text.
    Where a tokenizer adds the space itself (`▁yes`) or has none (WordPiece), a word is the same
    alone and after the mark.

    Args:
        ids: encodes a text without special tokens.
        before: what stands before the space.
    """
    mark = list(ids(before))
    for word in ("a", "1", "no"):
        whole = list(ids(f"{before} {word}"))
        if whole == [*mark, *ids(word)] or whole != [*mark, *ids(f" {word}")]:
            return False
    return True


def answer_texts(texts: Sequence[str], joined: bool, spaced: bool) -> list[str]:
    """Return answers as they are encoded.

    Args:
        texts: answers; an own label word may begin with a space.
        joined: whether input and answer are one sequence. Otherwise an answer begins its own text
            and is encoded as it stands.
        spaced: whether the space before the answer is encoded with it.
    """
    if not joined:
        return list(texts)
    return [f" {text.lstrip()}" if spaced else text.lstrip() for text in texts]


@dataclass(frozen=True)
class RoundTrip:
    """What becomes of a task's label words, answers and inputs in a tokenizer."""

    task: str
    backbone: str
    words: tuple[tuple[str, str], ...] = ()
    """Label words that do not come back as they are, with what comes back."""
    alike: tuple[tuple[str, str], ...] = ()
    """Pairs of label words that come back as one."""
    reachable: float | None = None
    """Score of a model that always answers right, on the sample; None without one."""
    changed: int = 0
    """Free answers of the sample that come back in another form."""
    example: tuple[str, str] = ("", "")
    """The first of them, before and after."""
    rows: int = 0
    unknown_rows: int = 0
    """Rows of the sample whose input holds an unknown token."""
    tokens: int = 0
    unknown_tokens: int = 0

    @property
    def unknown_share(self) -> float:
        """Share of the sample's input tokens that are unknown."""
        return self.unknown_tokens / self.tokens if self.tokens else 0.0

    def sentences(self, least: float = WORTH_KNOWING) -> list[str]:
        """Say what is worth knowing, one sentence each; nothing where all comes back.

        Args:
            least: share of unknown input tokens below which they are not mentioned.
        """
        found = [*self._about_words(), *self._about_answers()]
        if self.unknown_tokens and self.unknown_share >= least:
            found.append(
                f"{self.unknown_share:.1%} of the input tokens of task {self.task} become the "
                f"unknown token with backbone '{self.backbone}' ({self.unknown_rows} of "
                f"{self.rows} rows have one), so the model does not see what stands there."
            )
        return found

    def _about_words(self) -> list[str]:
        if self.words:
            told = ", ".join(f"'{word}' becomes '{back}'" for word, back in self.words)
            return [
                f"Backbone '{self.backbone}' cannot write the label words of task {self.task} "
                f"({told}), so no generated answer can be right; choose other label words."
            ]
        if self.alike:
            told = ", ".join(f"'{one}' and '{other}'" for one, other in self.alike)
            return [
                f"Label words of task {self.task} come back as one from backbone "
                f"'{self.backbone}' ({told}), so they cannot be told apart; choose other label "
                "words."
            ]
        return []

    def _about_answers(self) -> list[str]:
        if not self.changed:
            return []
        before, after = (_short(text) for text in self.example)
        best = (
            "" if self.reachable is None else f" The best reachable score is {self.reachable:.3f}."
        )
        return [
            f"{self.changed} of {self.rows} answers of task {self.task} come back from backbone "
            f"'{self.backbone}' in another form ('{before}' becomes '{after}').{best}"
        ]


def round_trip(spec: TaskSpec, speech: Speech, examples: Sequence[Example] = ()) -> RoundTrip:
    """Write and read again every label word, and a sample of answers and inputs.

    Args:
        spec: the task, with the words that are answered.
        speech: the tokenizer.
        examples: rows of the task; `SAMPLE` of them, evenly spaced, are looked at.
    """
    backs = speech.decode(speech.answers(spec.labels)) if spec.labels else []
    words = tuple(
        (word, back.strip())
        for word, back in zip(spec.labels, backs, strict=True)
        if normal(back) != normal(word)
    )
    seen: dict[str, str] = {}
    alike = []
    for word, back in zip(spec.labels, backs, strict=True):
        other = seen.setdefault(normal(back), word)
        if other != word:
            alike.append((other, word))
    found = RoundTrip(spec.name, speech.name, words, tuple(alike))
    step = max(1, len(examples) // SAMPLE)
    sample = [examples[i] for i in range(0, len(examples), step)][:SAMPLE]
    return _on_rows(found, spec, speech, sample) if sample else found


def _on_rows(
    found: RoundTrip, spec: TaskSpec, speech: Speech, sample: Sequence[Example]
) -> RoundTrip:
    """Add what becomes of a sample's answers and inputs."""
    ids = speech.answers([e.target for e in sample])
    if not spec.labels:  # answers in label words are never cut
        ids = [row[: spec.max_target_tokens - 1] for row in ids]
    backs = speech.decode(ids)
    changed = [
        (e.target, back.strip())
        for e, back in zip(sample, backs, strict=True)
        if normal(back) != normal(e.target)
    ]
    inputs = speech.encode([e.source for e in sample])
    unknown = [row.count(speech.unknown) if speech.unknown is not None else 0 for row in inputs]
    return replace(
        found,
        reachable=score(spec, backs, sample)["score"] if changed else 1.0,
        changed=0 if spec.labels else len(changed),
        example=changed[0] if changed else ("", ""),
        rows=len(sample),
        unknown_rows=sum(count > 0 for count in unknown),
        tokens=sum(map(len, inputs)),
        unknown_tokens=sum(unknown),
    )


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:60] + "…"
