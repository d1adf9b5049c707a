"""The frozen backbone: soft prompts go in front of input embeddings, nothing is patched.

Everything a method or the training loop needs from a language model is the small interface
`Backbone`; the two families implement it over `inputs_embeds`. Weights never require a
gradient and the model stays in eval mode unless dropout is asked for. docs/method.md "Settings
of the paper".
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dtvg.backbones import attention, decoding
from dtvg.backbones.chat import ChatTemplate
from dtvg.backbones.compiling import FILLED_SHAPES, WARM_LENGTH, WARM_SHAPES, CompiledLayers
from dtvg.backbones.examples import Encoded as Encoded
from dtvg.backbones.examples import TokenBatch as TokenBatch
from dtvg.backbones.graphs import Passes
from dtvg.backbones.labels import LabelSet
from dtvg.backbones.packing import (
    Packing,
    alike,
    filled_answers,
    filled_count,
    filled_width,
)
from dtvg.backbones.positions import positions_of
from dtvg.backbones.speech import Speech, needs_space
from dtvg.errors import ConfigError
from dtvg.tasks.scoring import normal

CACHE_NAMES = ("cache", "past_key_values")
"""What models call the keys and values they keep, newest name first."""


@dataclass
class Prefix:
    """Prompts and inputs that were read, ready to be answered.

    With `cache` the model goes on from there; without, `recompute` reads everything again (for
    models that keep no keys, e.g. state-space models).
    """

    logits: Float[Tensor, "b v"]
    """Of the first answer token."""
    cache: Any
    mask: Tensor | None = None
    positions: Tensor | None = None
    """`[b]` position of the next token."""
    encoded: Tensor | None = None
    """Last states of an encoder."""
    prompt: Tensor | None = None
    sources: Sequence[np.ndarray] = ()
    tokens: Tensor | None = None
    """`[b k]` answer tokens read so far, where everything is read again."""

    @property
    def can_forget(self) -> bool:
        """Whether answer tokens that were read can be taken back."""
        return self.cache is None or bool(getattr(self.cache, "is_croppable", False))

    def forget(self, count: int) -> None:
        """Take back the last answer tokens that were read; `logits` are those of before them."""
        if not count:
            return
        if self.tokens is not None:
            self.tokens = self.tokens[:, :-count]
            return
        self.cache.crop(-count)
        if self.positions is not None and self.mask is not None:  # one sequence holds it all
            self.positions, self.mask = self.positions - count, self.mask[:, :-count]

    def repeat(self, times: int) -> None:
        """Repeat every row, neighbours first, so that several answers share what was read."""
        if self.cache is not None:
            self.cache.batch_repeat_interleave(times)
        self._each(lambda tensor: tensor.repeat_interleave(times, dim=0))
        self.sources = [source for source in self.sources for _ in range(times)]

    def select(self, rows: Tensor) -> None:
        """Keep only some rows."""
        if self.cache is not None:
            self.cache.batch_select_indices(rows)
        self._each(lambda tensor: tensor[rows])
        self.sources = [self.sources[i] for i in rows.tolist()] if self.sources else ()

    def _each(self, change: Callable[[Tensor], Tensor]) -> None:
        for name in ("logits", "mask", "positions", "encoded", "prompt", "tokens"):
            tensor = getattr(self, name)
            if tensor is not None:
                setattr(self, name, change(tensor))


UNKNOWN_REVISION = "unknown"
"""Revision of a hub's model in runs of before its commit was recorded."""


class Backbone(ABC):
    """A frozen language model that answers with a soft prompt in front of its input."""

    family: str
    joined = False
    """Whether input and answer are one sequence."""
    cut_start: bool
    """Whether the tokenizer was saved so that it cuts the start of a long text."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        name: str,
        revision: str,
        dropout: float = 0.0,
        template: str = "plain",
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.cut_start = getattr(tokenizer, "truncation_side", "right") == "left"
        # an input is cut at its end, whatever side the tokenizer was saved with
        tokenizer.truncation_side = "right"
        self.name = name
        self.revision = revision
        self.commit = ""
        """The hub's commit of a model that was asked for without one; else empty."""
        self.dropout = dropout
        self.precision = "float32"
        """As `device.precision` calls it; set by whoever loads the weights."""
        self.layers: CompiledLayers | None = None
        """Compiled for training steps; None: everything runs eagerly."""
        self.passes: Passes | None = None
        """Training steps as CUDA graphs; None: kernels are launched one by one."""
        self.chat = ChatTemplate(tokenizer, name) if template == "chat" else None
        """How inputs are put to it; None: as plain text."""
        embeddings = self._input_embeddings()
        # quantised weights have no floating type of their own; embeddings always do
        self.device: torch.device = embeddings.weight.device
        if self.device.type == "cuda":
            attention.without_plans()
        self.dtype: torch.dtype = embeddings.weight.dtype
        self.width = int(embeddings.weight.shape[1])
        self.vocabulary = int(embeddings.weight.shape[0])
        self.accepts = frozenset(inspect.signature(model.forward).parameters)
        self.cache_name = next((n for n in CACHE_NAMES if n in self.accepts), "")
        _set_dropout(model, dropout)

    def _input_embeddings(self) -> Any:
        """Return the module that looks up input embeddings, with whatever scaling it applies."""
        return self.model.get_input_embeddings()

    @property
    def template(self) -> str:
        """How inputs are put to it, as `data.template` calls it."""
        return "plain" if self.chat is None else "chat"

    @cached_property
    def pad_id(self) -> int:
        """Token id used to fill up a batch; it is masked everywhere."""
        pad = self.tokenizer.pad_token_id
        return self.eos_id if pad is None or int(pad) >= self.vocabulary else int(pad)

    @cached_property
    def eos_id(self) -> int:
        """Token id that ends an answer: the tokenizer's, else the model's.

        Raises:
            ConfigError: neither has one.
        """
        eos = self.tokenizer.eos_token_id
        ids = [int(eos)] if eos is not None else self._configured_ends()
        if not ids:
            raise ConfigError(
                f"Backbone '{self.name}' has no end-of-sequence token, so answers could not "
                "end; set eos_token in its tokenizer_config.json."
            )
        return ids[0]

    @cached_property
    def end_ids(self) -> tuple[int, ...]:
        """Every token id that ends an answer when it is generated."""
        return tuple(dict.fromkeys([self.eos_id, *self._configured_ends()]))

    def _configured_ends(self) -> list[int]:
        found: list[int] = []
        for place in ("generation_config", "config"):
            value = getattr(getattr(self.model, place, None), "eos_token_id", None)
            found += value if isinstance(value, list) else [] if value is None else [value]
        return [int(i) for i in found]

    @cached_property
    def position_limit(self) -> int | None:
        """How many positions a table of them has, learned or not; None where there is none."""
        return positions_of(self._placed_in)

    @property
    def _placed_in(self) -> torch.nn.Module:
        """The part of the model in which prompt and text have positions."""
        whole: torch.nn.Module = self.model
        return whole

    def check_length(self, length: int) -> None:
        """Refuse a sequence longer than the table of positions.

        Raises:
            ConfigError: naming both lengths.
        """
        if self.position_limit is not None and length > self.position_limit:
            raise ConfigError(
                f"Prompt and text of {length} tokens exceed the {self.position_limit} "
                f"positions of backbone '{self.name}'; lower data.max_source_tokens or "
                "prompt.length."
            )

    def embed(self, ids: Int[Tensor, "b t"]) -> Float[Tensor, "b t d"]:
        """Look up input embeddings as the model's own layers receive them.

        Families that scale embeddings when looking them up (Gemma by √d, some BART) scale
        here too, so prompts and tokens always have the same size.
        """
        embedded: Tensor = self._input_embeddings()(ids)
        return embedded

    def init_prompt(self, length: int, seed: int, vocabulary: int = 5000) -> Float[Tensor, "r d"]:
        """Draw the initial prompt: embeddings of distinct frequent tokens (docs/method.md).

        Args:
            length: prompt length r.
            seed: the draw is a pure function of it and the tokenizer.
            vocabulary: tokens are drawn from that many first ids, special ones left out.

        Returns:
            float32 on the CPU: embeddings as the layers receive them, scaling included.

        Raises:
            ConfigError: if r tokens are more than there are to draw from.
        """
        special = {int(i) for i in self.tokenizer.all_special_ids}
        added = getattr(self.tokenizer, "added_tokens_decoder", {})
        special |= {int(i) for i, token in added.items() if getattr(token, "special", False)}
        known: list[int] = list(getattr(self.tokenizer, "get_vocab", dict)().values())
        most = min(vocabulary, self.vocabulary, max(known, default=self.vocabulary - 1) + 1)
        allowed = [i for i in range(most) if i not in special]
        if length > len(allowed):
            raise ConfigError(
                f"Prompt length {length} is more than the {len(allowed)} tokens the initial "
                f"prompt draws from (backbone '{self.name}', first {vocabulary} ids without "
                "special tokens); lower prompt.length or raise prompt.vocabulary."
            )
        chosen = np.random.default_rng([7919, seed]).permutation(np.array(allowed))[:length]
        with torch.no_grad():
            drawn = self.embed(torch.as_tensor(chosen, device=self.device)[None])[0]
        return drawn.float().cpu().clone()

    def training(self, active: bool) -> None:
        """Switch dropout on or off; with `dropout` 0 the model always stays in eval mode."""
        wanted = active and self.dropout > 0
        if self.model.training != wanted:
            self.model.train(wanted)

    @contextmanager
    def still(self) -> Iterator[None]:
        """Try something in eval mode, also in the middle of training: dropout would change what is
        compared, and what is drawn next."""
        before = self.model.training
        if before:
            self.model.train(False)
        try:
            yield
        finally:
            if before:
                self.model.train(True)

    def compile_layers(
        self,
        backend: str = "inductor",
        packing: Callable[[int], Packing | None] = lambda front: None,
    ) -> None:
        """Compile the repeated layers for training steps; see `compiling`.

        Args:
            backend: of `torch.compile`.
            packing: of steps, for prompts of a length; None: their examples are padded.

        Raises:
            Exception: whatever the compiler raises; everything runs eagerly then.
        """
        how = packing(WARM_LENGTH)
        shapes = WARM_SHAPES if how is None or not how.filled else FILLED_SHAPES
        passes = [partial(self._one_pass, rows, length, how) for rows, length in shapes]
        self.layers = CompiledLayers(self.model, passes, backend)

    def record_passes(self) -> None:
        """Let training steps be recorded as CUDA graphs, shape by shape; see `graphs`."""
        self.passes = Passes(self.loss, device=self.device)

    def records(self, batch: TokenBatch, front: int) -> bool:
        """Whether a batch after prompts so long is computed by the same code while recorded."""
        return True

    def compiled(self) -> AbstractContextManager[None]:
        """Return a block in which layers that were compiled are used."""
        return nullcontext() if self.layers is None else self.layers.active()

    def _one_pass(self, rows: int, length: int, packing: Packing | None) -> None:
        """Go forward and back once over examples of different lengths."""
        drawn = np.random.default_rng(rows)
        examples = [
            Encoded(drawn.integers(0, self.vocabulary, length - i), np.full(3, self.eos_id))
            for i in range(rows)
        ]
        batch = self.batch_of(examples, packing)
        ids = torch.zeros((len(batch.ids), WARM_LENGTH), dtype=torch.long, device=self.device)
        with torch.no_grad():
            prompt = self.embed(ids).float()
        self.loss(prompt.requires_grad_(), batch)[0].sum().backward()

    def encode(
        self,
        sources: Sequence[str],
        targets: Sequence[str],
        max_source_tokens: int,
        max_target_tokens: int,
    ) -> list[Encoded]:
        """Tokenise examples; inputs beyond `max_source_tokens` are cut at the end.

        Special tokens count towards the limits, the end mark always stays.
        """
        read = self._source_ids if self.chat is None else self.chat.ids
        source_ids = read(list(sources), max_source_tokens)
        answers = self.target_ids(targets, max_target_tokens)
        highest = max((max(ids, default=0) for ids in (*source_ids, *answers)), default=0)
        if highest >= self.vocabulary:
            raise ConfigError(
                f"The tokenizer of backbone '{self.name}' makes token id {highest}, but the model "
                f"has embeddings for {self.vocabulary}, so they do not belong together."
            )
        return [
            Encoded(np.asarray(source, dtype=np.int64), np.asarray(target, dtype=np.int64))
            for source, target in zip(source_ids, answers, strict=True)
        ]

    def target_ids(self, targets: Sequence[str], limit: int) -> list[list[int]]:
        """Return token ids of answers, cut to `limit`, each with its end mark.

        Where one sequence holds input and answer, an answer is encoded with the space that text
        has before it (`speech.needs_space`).
        """
        return [[*ids[: limit - 1], self.eos_id] for ids in self.speech.answers(targets)]

    @cached_property
    def speech(self) -> Speech:
        """How the tokenizer writes answers and reads inputs."""

        def encode(texts: Sequence[str]) -> list[list[int]]:
            if not texts:
                return []
            found = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
            return [list(ids) for ids in found]

        unknown = self.tokenizer.unk_token_id
        # GPT-2 calls its end mark the unknown token, and its tokens can write anything
        lacks = unknown is not None and unknown != self.tokenizer.eos_token_id
        spaced = self.joined and self._answers_spaced(lambda text: encode([text])[0])
        return Speech(
            self.name, encode, self._texts, unknown if lacks else None, spaced, self.joined
        )

    def _answers_spaced(self, ids: Callable[[str], Sequence[int]]) -> bool:
        """Whether an answer's first token holds the space before it."""
        if self.chat is None:
            return needs_space(ids)
        return self.chat.spaced and needs_space(ids, self.chat.opening)

    @cached_property
    def versions(self) -> dict[str, int]:
        """What of reading and answering is not as it was first with this tokenizer.

        `answers` is 2 where answers have their space now, `inputs` where the start of a long
        input was cut. Empty for most; it enters the identities of prompts.
        """
        answers = self.speech.spaced and self.chat is None
        found = {"answers": answers, "inputs": self.cut_start and not self.joined}
        return {part: 2 for part, changed in found.items() if changed}

    @abstractmethod
    def _source_ids(self, sources: list[str], limit: int) -> list[list[int]]:
        """Token ids of inputs, special tokens included."""

    @abstractmethod
    def collate(
        self, examples: Sequence[Encoded], shape: tuple[int, int, int] | None = None
    ) -> TokenBatch:
        """Pad examples into one batch on the device.

        Args:
            examples: in the order of the rows.
            shape: rows, input and answer tokens that are filled up to; None: as many as there are.
        """

    def pack(self, examples: Sequence[Encoded], packing: Packing) -> TokenBatch:
        """Put examples into rows of several, on the device; only where `packs`."""
        raise NotImplementedError

    def batch_of(self, examples: Sequence[Encoded], packing: Packing | None) -> TokenBatch:
        """Put examples into one batch: padded, or packed for prompts of a length."""
        if packing is None:
            return self.collate(examples)
        if self.packs:
            return self.pack(examples, packing)
        return self.collate(examples, self._filled_shape(examples, packing.front))

    def _filled_shape(self, examples: Sequence[Encoded], front: int) -> tuple[int, int, int]:
        """Return the shape that padded examples are filled up to, within the model's positions."""
        longest = max(e.tokens - 1 if self.joined else len(e.source) for e in examples) + front
        width = filled_width(longest)
        if self.position_limit is not None:
            width = max(longest, min(width, self.position_limit))
        answers = filled_answers([len(e.target) for e in examples])
        return filled_count(len(examples)), width - front, answers

    @cached_property
    def packs(self) -> bool:
        """Whether rows of several examples give what each gives alone; found out once."""
        return False

    @torch.no_grad()
    def _packs_alike(self, filled: bool = False) -> bool:
        """Try packed rows beside padded ones, two examples in the first of them."""
        lengths = ((9, 2), (5, 3), (4, 1))
        drawn = np.random.default_rng(11)
        examples = [
            Encoded(*(drawn.integers(0, self.vocabulary, n) for n in both)) for both in lengths
        ]
        prompt = self.embed(torch.as_tensor(examples[0].source[None, :4], device=self.device))
        prompts = prompt.expand(len(examples), -1, -1)
        batch = self.pack(examples, Packing(prompts.shape[1], 1e9, filled))
        more = len(batch.ids) - len(examples)
        try:
            with self.still():
                wanted = self.outputs(prompts, self.collate(examples))[0]
                read = torch.cat([prompts, prompts[:1].expand(more, -1, -1)])
                found = self.outputs(read, batch)[0][: len(wanted), : wanted.shape[1]]
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError):
            return False
        there = self.collate(examples).label_mask[..., None]
        return alike(found * there, wanted * there)

    @abstractmethod
    def outputs(
        self, prompt: Float[Tensor, "b r d"], batch: TokenBatch
    ) -> tuple[Float[Tensor, "b u v"], Float[Tensor, "b u d"]]:
        """Return logits and last hidden state at the target positions (teacher forcing).

        Logits are what `model(inputs_embeds=...)` gives, soft caps and scalings included; the
        hidden state is what its output layer reads.
        """

    @abstractmethod
    def begin(self, prompt: Float[Tensor, "b r d"], sources: Sequence[np.ndarray]) -> Prefix:
        """Read prompts and inputs once; return where answers start, with the keys kept."""

    @abstractmethod
    def advance(self, prefix: Prefix, tokens: Int[Tensor, "b k"]) -> Float[Tensor, "b k v"]:
        """Read answer tokens after a prefix; return logits of what follows each of them."""

    @torch.no_grad()
    def generate(
        self,
        prompt: Float[Tensor, "b r d"],
        sources: Sequence[np.ndarray],
        max_new_tokens: int,
        labels: LabelSet | None = None,
        prefix: Prefix | None = None,
    ) -> list[str]:
        """Answer greedily; return one text per input.

        Args:
            prompt: one per input.
            sources: inputs as token ids.
            max_new_tokens: the answer's limit, end mark included.
            labels: only these words can be answered; None: anything.
            prefix: what `begin` read of them, which is used up; None: it is read here.
        """
        answers = decoding.greedy(self, prompt, sources, max_new_tokens, labels, prefix).cpu()
        return self.decode(answers) if labels is None else labels.read(answers)

    @torch.no_grad()
    def label_scores(
        self,
        prompt: Float[Tensor, "b r d"],
        sources: Sequence[np.ndarray],
        labels: LabelSet,
        constrained: bool = False,
        prefix: Prefix | None = None,
    ) -> Float[Tensor, "b L"]:
        """Return the log-likelihood of every label word with its end mark; see `decoding`."""
        return decoding.label_scores(self, prompt, sources, labels, constrained, prefix)

    def label_set(self, words: Sequence[str], limit: int) -> LabelSet:
        """Tokenise label words for scoring and constrained answers.

        Raises:
            ConfigError: two words become the same tokens.
        """
        ids = self.target_ids(words, limit)
        backs = self._texts([row[:-1] for row in ids])
        lost = any(normal(b) != normal(w) for b, w in zip(backs, words, strict=True))
        return LabelSet.of(words, ids, self.device, self.name, lost)

    def loss(
        self, prompt: Float[Tensor, "b r d"], batch: TokenBatch
    ) -> tuple[Float[Tensor, " b"], Int[Tensor, " b"]]:
        """Return summed negative log-likelihood and target token count per example.

        The loss of a run's step is `Σ nll / Σ tokens` over its examples; float32 at least.
        """
        return self.nll(self.outputs(prompt, batch)[0], batch)

    def nll(
        self, logits: Float[Tensor, "b u v"], batch: TokenBatch
    ) -> tuple[Float[Tensor, " b"], Int[Tensor, " b"]]:
        """Return summed negative log-likelihood and target token count per example."""
        wide = logits if logits.dtype == torch.float64 else logits.float()
        nll = torch.nn.functional.cross_entropy(
            wide.flatten(0, 1), batch.labels.flatten(), reduction="none"
        ).view_as(batch.labels)
        return (nll * batch.label_mask).sum(-1), batch.label_mask.sum(-1)

    def decode(self, ids: Int[Tensor, "b k"]) -> list[str]:
        """Turn generated ids into texts: up to the end mark, without special tokens."""
        rows = []
        for row in ids.tolist():
            stop = next((i for i, token in enumerate(row) if token in self.end_ids), len(row))
            rows.append(row[:stop])
        return self._texts(rows)

    def _texts(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """Turn ids into texts, without special tokens and white space around them."""
        texts: list[str] = self.tokenizer.batch_decode(list(rows), skip_special_tokens=True)
        return [text.strip() for text in texts]


def _set_dropout(model: Any, rate: float) -> None:
    """Give every place that drops activations the same rate; whole layers are never dropped."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = rate
        for name in ("dropout", "attention_dropout", "activation_dropout", "hidden_dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, rate)
        if isinstance(getattr(module, "layerdrop", None), float):
            module.layerdrop = 0.0


@dataclass
class Seen:
    """What the output layer was given."""

    hidden: Tensor | None = None
    """`[b u h]` at the chosen places; None where the layer was not called on sequences."""


@contextmanager
def reading(model: Any, pick: Callable[[Tensor], Tensor] | None, length: int) -> Iterator[Seen]:
    """Let the output layer compute some places only, and keep what it reads.

    Args:
        model: a language model.
        pick: takes the wanted places of the whole sequence's states; None: all are wanted.
        length: positions of the whole sequence, to recognise the layer's call.
    """
    seen = Seen()
    layer = model.get_output_embeddings()

    def before(module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        hidden = inputs[0]
        if hidden.dim() != 3 or hidden.shape[1] != length:
            return None
        seen.hidden = hidden if pick is None else pick(hidden)
        return (seen.hidden, *inputs[1:])

    handle = None if layer is None else layer.register_forward_pre_hook(before)
    try:
        yield seen
    finally:
        if handle is not None:
            handle.remove()
