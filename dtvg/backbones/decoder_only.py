"""Decoder-only backbones (Llama and kin): prompt, then BOS, input, answer in one sequence.

Training pads at the right with explicit positions, so that learned positions are right too;
generation pads at the left, before the prompt. The loss counts answer tokens only.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dtvg.backbones import attention
from dtvg.backbones.base import Backbone, Prefix, reading
from dtvg.backbones.examples import Encoded, TokenBatch, padded, place, take
from dtvg.backbones.packing import (
    STEP,
    Packed,
    Packing,
    Rows,
    answer_places,
    filled_answers,
    filled_bounds,
    filled_count,
    filled_layout,
    filled_tokens,
    laid_out,
    layout,
)
from dtvg.backbones.speech import ANSWER_MARK

log = logging.getLogger(__name__)
UNMASKED = "dtvg_unmasked"
"""What PyTorch's attention is called where transformers should make no mask for it."""
BOUNDED = {"cuda"}
"""Devices whose attention can be told where examples start and end."""
PROBE_TOLERANCE = 0.05
"""Relative difference of logits beyond which kept keys are not trusted; rounding stays below."""


class DecoderOnly(Backbone):
    """A frozen causal model with soft prompts before everything, BOS included."""

    family = "decoder_only"
    joined = True

    @cached_property
    def front(self) -> list[int]:
        """What the tokenizer itself puts before a text (Llama: BOS; GPT-2, Qwen: nothing)."""
        plain = list(self.tokenizer("a", add_special_tokens=False)["input_ids"])
        whole = list(self.tokenizer("a")["input_ids"])
        for start in range(len(whole) - len(plain) + 1):
            if whole[start : start + len(plain)] == plain:
                return whole[:start]
        return []

    def _source_ids(self, sources: list[str], limit: int) -> list[list[int]]:
        mark = list(self.tokenizer(ANSWER_MARK, add_special_tokens=False)["input_ids"])
        plain = self.tokenizer(sources, add_special_tokens=False)["input_ids"]
        room = max(1, limit - len(self.front) - len(mark))
        return [[*self.front, *ids[:room], *mark] for ids in plain]

    def collate(
        self, examples: Sequence[Encoded], shape: tuple[int, int, int] | None = None
    ) -> TokenBatch:
        """Pad examples into one batch on the device; `ids` hold input and answer."""
        whole = [np.concatenate([e.source, e.target[:-1]]) for e in examples]
        ids, mask = padded(whole, self.pad_id, shape=shape and shape[:2])
        labels, label_mask = padded([e.target for e in examples], 0, shape=shape and shape[::2])
        parts = [place(part, self.device) for part in (ids, mask, labels, label_mask)]
        filled_up = shape is not None or len({len(row) for row in whole}) > 1
        return TokenBatch(parts[0], parts[1], parts[2], parts[3], filled_up)

    def pack(self, examples: Sequence[Encoded], packing: Packing) -> TokenBatch:
        """Put examples into rows of several, on the device."""
        if packing.filled:
            return self._pack_filled(examples, packing)
        batch = self.collate(examples)
        answers = [len(e.target) for e in examples]
        widths = [packing.front + e.tokens - 1 for e in examples]
        self.check_length(max(widths))
        rows = layout(widths, packing.reach)
        read, starts = laid_out(rows, widths, packing.front + batch.ids.shape[1])
        first = starts + np.array(widths) - np.array(answers)
        parts = [torch.from_numpy(part) for part in (*read, answer_places(first, answers))]
        *laid, places = (place(part, self.device) for part in parts)
        return replace(batch, packed=Packed(Rows(*laid), places))

    def _pack_filled(self, examples: Sequence[Encoded], packing: Packing) -> TokenBatch:
        """Put examples into one row, or into rows of one run each, filled up to few shapes."""
        front, answers = packing.front, [len(e.target) for e in examples]
        widths = [front + e.tokens - 1 for e in examples]
        self.check_length(max(widths))
        count, longest, bounds = filled_count(len(examples)), 0, None
        if self._by_bounds:
            tokens, longest = filled_tokens(sum(widths)), -(-max(widths) // STEP) * STEP
            rows, filled = [list(range(len(examples)))], (1, tokens)
            ends = filled_bounds(widths, count, tokens, longest)
            bounds = place(torch.from_numpy(ends), self.device)
            stride = longest
        else:
            rows, stride = filled_layout(widths, packing.runs or [0] * len(examples))
            filled = (filled_count(len(rows)), stride)
        read, starts = laid_out(rows, widths, stride, filled)
        first = starts + np.array(widths) - np.array(answers)
        shape = (count, stride - front, filled_answers(answers))
        batch = self.collate(examples, shape)
        places = np.zeros((count, shape[2]), dtype=np.int64)
        places[: len(examples)] = answer_places(first, answers, shape[2])
        parts = [torch.from_numpy(part) for part in (*read, places)]
        *laid, placed = (place(part, self.device) for part in parts)
        return replace(batch, packed=Packed(Rows(*laid), placed, None, bounds, longest))

    @cached_property
    def packs(self) -> bool:
        """Whether rows of several examples give what each gives alone; found out once."""
        if not self._causal_alone or "position_ids" not in self.accepts:
            return False
        return self._by_bounds or self._packs_alike()

    @cached_property
    def _by_bounds(self) -> bool:
        """Whether a single row whose attention is told each example's bounds gives what each gives
        alone; found out once. In half precision, for which a GPU has such attention."""
        half = self.dtype in (torch.bfloat16, torch.float16)
        if not half or self.device.type not in BOUNDED or not self._causal_alone:
            return False
        self.__dict__["_by_bounds"] = True  # while it is tried
        return self._packs_alike(filled=True)

    def outputs(
        self, prompt: Float[Tensor, "b r d"], batch: TokenBatch
    ) -> tuple[Float[Tensor, "b u v"], Float[Tensor, "b u h"]]:
        """Return logits and last hidden state at the target positions (teacher forcing)."""
        length, packed = prompt.shape[1], batch.packed
        embeds = torch.cat([prompt.to(self.dtype), self.embed(batch.ids)], dim=1)
        if packed is not None:
            rows = packed.read
            inputs: dict[str, Any] = {"inputs_embeds": rows.gather(embeds)}
            if packed.bounds is not None:
                inputs |= {attention.BOUNDS: packed.bounds, attention.LONGEST: packed.longest}
                with self._asking_nothing():
                    return self._run(packed.at_answers, None, rows.position, **inputs)[:2]
            return self._run(packed.at_answers, rows.looks_back(), rows.position, **inputs)[:2]
        # the token at position p predicts the one at p + 1: a row's answer is predicted from
        # the last input token on
        first = length + batch.mask.sum(-1) - batch.label_mask.sum(-1)
        offsets = torch.arange(batch.labels.shape[1], device=embeds.device)
        places = (first[:, None] + offsets).clamp(max=embeds.shape[1] - 1)
        # no mask: padding stands at the right, where no causal model looks from a real token
        positions = torch.arange(embeds.shape[1], device=embeds.device).expand(len(embeds), -1)
        alone = self._is_causal_alone(embeds.shape[1])
        with self._asking_nothing() if alone else nullcontext():
            logits, hidden, _ = self._run(
                partial(take, places=places), None, positions, inputs_embeds=embeds
            )
        return logits, hidden

    def records(self, batch: TokenBatch, front: int) -> bool:
        """Whether a batch is computed by the same code while it is recorded."""
        # where transformers may drop a mask by its values, it keeps the mask while recording
        drops = self.model.config._attn_implementation == "sdpa"
        length = front + batch.ids.shape[1]
        return batch.packed is not None or not drops or self._is_causal_alone(length)

    @cached_property
    def _causal_alone(self) -> bool:
        """Whether attention that only looks back is all this model needs where no mask is given.

        transformers looks at the values of positions otherwise, for which the host waits. Found out
        by trying, once.
        """
        return self._window is None and self._same_unmasked

    def _is_causal_alone(self, length: int) -> bool:
        """Whether it is all that is needed for sequences so long: none reaches beyond a window."""
        return self._same_unmasked and (self._window is None or length < self._window)

    @cached_property
    def _window(self) -> int | None:
        """How far back every layer looks at least; None: to the start."""
        names = ("sliding_window", "attention_chunk_size")
        found = [getattr(self.model.config, name, None) for name in names]
        return min((size for size in found if size), default=None)

    @cached_property
    def _same_unmasked(self) -> bool:
        """Whether a few tokens have the same logits without a mask."""
        config = self.model.config
        kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
        kinds -= set() if self._window is None else {"sliding_attention", "chunked_attention"}
        if config._attn_implementation != "sdpa" or kinds - {"full_attention"}:
            return False
        tokens = [i % self.vocabulary for i in (5, 7, 11, 13)]
        embeds = self.embed(torch.tensor([tokens, tokens], device=self.device))
        positions = torch.arange(4, device=self.device).expand(2, -1)
        with torch.no_grad(), self.still():
            usual = self._run(None, None, positions, inputs_embeds=embeds)[0]
            try:
                with self._asking_nothing():
                    found = self._run(None, None, positions, inputs_embeds=embeds)[0]
            except Exception:  # noqa: BLE001 - a model that asks for the name of its attention
                return False
        return torch.equal(usual, found)

    @contextmanager
    def _asking_nothing(self) -> Iterator[None]:
        """Let the model attend as it does, under a name for which no mask is made."""
        attention.register(UNMASKED)
        usual = self.model.config._attn_implementation
        self.model.config._attn_implementation = UNMASKED
        try:
            yield
        finally:
            self.model.config._attn_implementation = usual

    def _run(
        self,
        pick: Callable[[Tensor], Tensor] | None,
        mask: Tensor | None,
        positions: Tensor,
        **inputs: Any,
    ) -> tuple[Tensor, Tensor, Any]:
        """Call the whole model; return logits and hidden state where asked, and what it keeps."""
        length = positions.shape[1]
        if attention.BOUNDS not in inputs and (mask is None or mask.dim() == 2):
            # of packed rows, each example's length counts
            self.check_length(length if mask is None else mask.shape[1])
        options: dict[str, Any] = {
            "attention_mask": mask,
            "position_ids": positions,
            "use_cache": False,
            **inputs,
        }
        with reading(self.model, pick, length) as seen:
            known = self.accepts | {attention.BOUNDS, attention.LONGEST}
            result = self.model(**{k: v for k, v in options.items() if k in known})
        logits = result.logits
        if pick is not None and seen.hidden is None:
            logits = pick(logits)
        hidden = logits if seen.hidden is None else seen.hidden
        return logits, hidden, getattr(result, self.cache_name, None) if self.cache_name else None

    @cached_property
    def _keeps(self) -> bool:
        """Whether answers can go on from kept keys and values, inputs padded at the left.

        Otherwise everything is read again for every token, padded at the right: slow, and right
        for any causal model. So it is for state-space and other recurrent models, for learned
        positions that cannot be given, and where masks give no numbers (float64 with an
        attention computed in float32). Found out by trying, once.
        """
        from transformers.cache_utils import Cache

        tokens = [i % self.vocabulary for i in (5, 7, 11, 13)]
        ids = torch.tensor([[self.pad_id, *tokens[1:]], tokens], device=self.device)
        mask = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]], device=self.device)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        alone = torch.arange(3, device=self.device)[None]
        try:
            with torch.no_grad(), self.still():
                wanted = self._run(None, None, alone, inputs_embeds=self.embed(ids[:1, 1:]))[0]
                *_, kept = self._run(
                    None,
                    mask[:, :3],
                    positions[:, :3],
                    inputs_embeds=self.embed(ids[:, :3]),
                    use_cache=True,
                )
                more = {self.cache_name: kept, "input_ids": ids[:, 3:], "use_cache": True}
                found = self._run(None, mask, positions[:, 3:], **more)[0]
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
            log.info("%s: keys are not kept (%s)", self.name, error)
            return False
        # states of recurrent layers cannot be repeated or picked row by row
        if not isinstance(kept, Cache) or any("Linear" in type(k).__name__ for k in kept.layers):
            return False
        difference = (found[0, -1] - wanted[0, -1]).abs().max() / wanted.abs().max()
        return bool(difference < PROBE_TOLERANCE)

    def begin(self, prompt: Float[Tensor, "b r d"], sources: Sequence[np.ndarray]) -> Prefix:
        """Read prompts and inputs, padded at the left, so that answers go on without a gap."""
        if not self._keeps:
            empty = torch.zeros((len(sources), 0), dtype=torch.long, device=self.device)
            unread = prompt.new_zeros((len(sources), 0))
            prefix = Prefix(unread, None, prompt=prompt, sources=list(sources), tokens=empty)
            prefix.logits = self._read_again(prefix, 1)[:, 0]
            return prefix
        length = prompt.shape[1]
        ids, there = (p.to(self.device) for p in padded(sources, self.pad_id, left=True))
        tokens = self.embed(ids)
        embeds = torch.cat([tokens.new_zeros((len(ids), length, self.width)), tokens], dim=1)
        starts = ids.shape[1] - there.sum(-1)
        places = starts[:, None] + torch.arange(length, device=self.device)
        embeds = embeds.scatter(1, places[..., None].expand_as(prompt), prompt.to(self.dtype))
        column = torch.arange(embeds.shape[1], device=self.device)
        mask = (column >= starts[:, None]).long()
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        last = torch.full((len(ids), 1), embeds.shape[1] - 1, device=self.device)
        at_last = partial(take, places=last)
        logits, _, kept = self._run(at_last, mask, positions, inputs_embeds=embeds, use_cache=True)
        return Prefix(logits[:, 0], kept, mask, positions[:, -1] + 1)

    def advance(self, prefix: Prefix, tokens: Int[Tensor, "b k"]) -> Float[Tensor, "b k v"]:
        """Read answer tokens after a prefix; return logits of what follows each of them."""
        count = tokens.shape[1]
        if prefix.tokens is not None:
            prefix.tokens = torch.cat([prefix.tokens, tokens], dim=1)
            return self._read_again(prefix, count)
        if prefix.mask is None or prefix.positions is None:
            raise ValueError("the prefix was not begun")
        prefix.mask = torch.cat([prefix.mask, torch.ones_like(tokens)], dim=1)
        positions = prefix.positions[:, None] + torch.arange(count, device=self.device)
        prefix.positions = prefix.positions + count
        kept = {self.cache_name: prefix.cache}
        logits, _, prefix.cache = self._run(
            None, prefix.mask, positions, input_ids=tokens, use_cache=True, **kept
        )
        return logits

    def _read_again(self, prefix: Prefix, count: int) -> Tensor:
        """Return logits after the last `count` tokens, everything read from the start."""
        if prefix.tokens is None or prefix.prompt is None:
            raise ValueError("the prefix was not begun")
        answers = prefix.tokens.cpu().numpy()
        examples = [
            Encoded(source, np.append(answer, self.eos_id))
            for source, answer in zip(prefix.sources, answers, strict=True)
        ]
        return self.outputs(prefix.prompt, self.collate(examples))[0][:, -count:]
