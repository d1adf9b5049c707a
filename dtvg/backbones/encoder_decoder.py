"""Encoder-decoder backbones (T5 and kin): the prompt stands before the encoder's input only.

As PEFT does with `num_transformer_submodules: 1`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dtvg.backbones.base import Backbone, Prefix, reading
from dtvg.backbones.examples import Encoded, TokenBatch, padded, place
from dtvg.backbones.packing import (
    Packed,
    Packing,
    Rows,
    answer_places,
    filled_answers,
    filled_count,
    filled_layout,
    laid_out,
    layout,
)
from dtvg.backbones.positions import positions_of
from dtvg.backbones.shared_bias import share
from dtvg.errors import ConfigError


class EncoderDecoder(Backbone):
    """A frozen encoder-decoder model with soft prompts before the encoder's embeddings."""

    family = "encoder_decoder"
    _encoded_as: Any
    """Class of what this model's encoder returns."""

    def __init__(self, model: Any, *given: Any, **options: Any) -> None:
        """Take a model, as `Backbone` does; its encoder's layers share their bias."""
        super().__init__(model, *given, **options)
        share(model.get_encoder())

    def _input_embeddings(self) -> Any:
        encoder = self.model.get_encoder()
        # some encoders scale what they look up, where the shared table does not
        return getattr(encoder, "embed_tokens", None) or self.model.get_input_embeddings()

    @property
    def _placed_in(self) -> torch.nn.Module:
        encoder: torch.nn.Module = self.model.get_encoder()
        return encoder

    @cached_property
    def start(self) -> list[int]:
        """What the decoder reads before an answer: its start mark, and a forced first token.

        Raises:
            ConfigError: the model names no start.
        """
        configs = [getattr(self.model, n, None) for n in ("config", "generation_config")]

        def first(name: str) -> int | None:
            found = (getattr(c, name, None) for c in configs)
            return next((int(i) for i in found if isinstance(i, int)), None)

        start = first("decoder_start_token_id")
        if start is None:
            start = first("bos_token_id")
        if start is None:
            raise ConfigError(
                f"Backbone '{self.name}' names no decoder_start_token_id; set it in its "
                "config.json."
            )
        forced = first("forced_bos_token_id")
        return [start] if forced is None else [start, forced]

    def _source_ids(self, sources: list[str], limit: int) -> list[list[int]]:
        encoded = self.tokenizer(sources, truncation=True, max_length=limit)["input_ids"]
        return [list(ids) for ids in encoded]

    def collate(
        self, examples: Sequence[Encoded], shape: tuple[int, int, int] | None = None
    ) -> TokenBatch:
        """Pad examples into one batch on the device."""
        ids, mask = padded([e.source for e in examples], self.pad_id, shape=shape and shape[:2])
        labels, label_mask = padded([e.target for e in examples], 0, shape=shape and shape[::2])
        parts = [place(part, self.device) for part in (ids, mask, labels, label_mask)]
        filled_up = shape is not None or len({len(e.source) for e in examples}) > 1
        return TokenBatch(parts[0], parts[1], parts[2], parts[3], filled_up)

    def pack(self, examples: Sequence[Encoded], packing: Packing) -> TokenBatch:
        """Put examples into rows of several, on the device; answers into the same rows."""
        if packing.filled:
            return self._pack_filled(examples, packing)
        batch, skip = self.collate(examples), len(self.start) - 1
        widths = [packing.front + len(e.source) for e in examples]
        answers = [len(e.target) for e in examples]
        rows = layout(widths, packing.reach)
        read, _ = laid_out(rows, widths, packing.front + batch.ids.shape[1])
        written, starts = laid_out(rows, [n + skip for n in answers], batch.labels.shape[1] + skip)
        parts = (*read, *written, answer_places(starts + skip, answers))
        laid = [place(torch.from_numpy(part), self.device) for part in parts]
        return replace(batch, packed=Packed(Rows(*laid[:3]), laid[6], Rows(*laid[3:6])))

    def _pack_filled(self, examples: Sequence[Encoded], packing: Packing) -> TokenBatch:
        """Put examples into rows of one run each, filled up to few shapes."""
        front, skip = packing.front, len(self.start) - 1
        widths = [front + len(e.source) for e in examples]
        answers = [len(e.target) for e in examples]
        rows, width = filled_layout(widths, packing.runs or [0] * len(examples))
        count, there = filled_count(len(examples)), filled_count(len(rows))
        shape = (count, width - front, filled_answers(answers))
        read, _ = laid_out(rows, widths, width, (there, width))
        spoken = [n + skip for n in answers]
        longest = -(-max(sum(spoken[i] for i in row) for row in rows) // 8) * 8
        written, starts = laid_out(rows, spoken, shape[2] + skip, (there, longest))
        places = np.zeros((count, shape[2]), dtype=np.int64)
        places[: len(examples)] = answer_places(starts + skip, answers, shape[2])
        batch = self.collate(examples, shape)
        laid = [place(torch.from_numpy(p), self.device) for p in (*read, *written, places)]
        return replace(batch, packed=Packed(Rows(*laid[:3]), laid[6], Rows(*laid[3:6])))

    def _filled_shape(self, examples: Sequence[Encoded], front: int) -> tuple[int, int, int]:
        """Return the shape that padded examples are filled up to, within both parts' positions."""
        count, width, answers = super()._filled_shape(examples, front)
        if self._answer_limit is not None:
            longest = max(len(e.target) for e in examples)
            answers = max(longest, min(answers, self._answer_limit))
        return count, width, answers

    @cached_property
    def _answer_limit(self) -> int | None:
        """How long an answer the decoder has positions for; None where it has no table of them."""
        limit = positions_of(self.model.get_decoder())
        return None if limit is None else limit - len(self.start) + 1

    @cached_property
    def packs(self) -> bool:
        """Whether rows of several examples give what each gives alone; found out once."""
        return self._takes_wide_masks and self._packs_alike()

    def _packed_outputs(
        self, embeds: Tensor, shifted: Tensor, packed: Packed
    ) -> tuple[Tensor, Tensor]:
        """Return logits and hidden state at the answers, computed in rows of several examples."""
        read, written = packed.read, packed.written
        if written is None:
            raise ValueError("these rows are not an encoder-decoder's")
        encoder = self.model.get_encoder()
        encoded = encoder(inputs_embeds=read.gather(embeds), attention_mask=read.sees(read))
        with reading(self.model, packed.at_answers, written.read.shape[1]) as seen:
            logits = self.model(
                encoder_outputs=encoded,
                attention_mask=written.sees(read),
                decoder_input_ids=shifted.flatten()[written.read],
                decoder_attention_mask=written.looks_back(),
                use_cache=False,
            ).logits
        if seen.hidden is None:
            logits = packed.at_answers(logits)
        return logits, logits if seen.hidden is None else seen.hidden

    def outputs(
        self, prompt: Float[Tensor, "b r d"], batch: TokenBatch
    ) -> tuple[Float[Tensor, "b u v"], Float[Tensor, "b u h"]]:
        """Return logits and last hidden state at the target positions (teacher forcing)."""
        embeds, mask = self._prepend(prompt, batch.ids, batch.mask)
        shifted = torch.cat([self._first.expand(len(embeds), -1), batch.labels[:, :-1]], dim=1)
        if batch.packed is not None:
            return self._packed_outputs(embeds, shifted, batch.packed)
        with reading(self.model, None, shifted.shape[1]) as seen:
            logits = self.model(
                inputs_embeds=embeds,
                attention_mask=self._as_read(mask, batch.filled_up),
                decoder_input_ids=shifted,
                use_cache=False,
            ).logits
        hidden = logits if seen.hidden is None else seen.hidden
        skip = len(self.start) - 1
        return logits[:, skip:], hidden[:, skip:]

    @cached_property
    def _first(self) -> Tensor:
        """`start` on the device."""
        return place(torch.tensor(self.start), self.device)

    def _as_read(self, mask: Tensor, filled_up: bool) -> Tensor | None:
        """Return the mask as attention takes it, so that transformers asks for none of its values.

        For that the host would wait. Without padding there is none, as transformers would find,
        unless layers are compiled: they are compiled with one.
        """
        if not self._takes_wide_masks:
            return mask
        compiled = self.layers is not None and self.layers.in_use
        return mask[:, None, None, :].bool() if filled_up or compiled else None

    @cached_property
    def _takes_wide_masks(self) -> bool:
        """Whether the model takes masks `[b 1 1 t]` for what they are; found out once."""
        kinds = {
            getattr(getattr(part, "config", None), "_attn_implementation", None)
            for part in (self.model, self.model.get_encoder(), self.model.get_decoder())
        }
        if kinds != {"sdpa"}:
            return False
        ids = torch.tensor([[i % self.vocabulary for i in (5, 7, 11, 13)]] * 2, device=self.device)
        mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]], device=self.device)
        found = []
        try:
            for given in (mask, mask[:, None, None, :].bool()):
                with torch.no_grad(), self.still():
                    result = self.model(
                        inputs_embeds=self.embed(ids),
                        attention_mask=given,
                        decoder_input_ids=ids[:, :2],
                        use_cache=False,
                    )
                found.append(result.logits)
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError):
            return False
        return torch.equal(*found)

    def _prepend(self, prompt: Tensor, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        embeds = torch.cat([prompt.to(self.dtype), self.embed(ids)], dim=1)
        self.check_length(embeds.shape[1])
        front = torch.ones(prompt.shape[:2], dtype=torch.long, device=mask.device)
        return embeds, torch.cat([front, mask.long()], dim=1)

    def begin(self, prompt: Float[Tensor, "b r d"], sources: Sequence[np.ndarray]) -> Prefix:
        """Encode prompts and inputs once, and read the decoder's start."""
        ids, there = (p.to(self.device) for p in padded(sources, self.pad_id))
        embeds, mask = self._prepend(prompt, ids, there)
        encoder = self.model.get_encoder()
        result = encoder(inputs_embeds=embeds, attention_mask=mask)
        self._encoded_as, encoded = type(result), result.last_hidden_state
        first = self._first.expand(len(ids), -1)
        prefix = Prefix(encoded[:, 0], None, mask, encoded=encoded)
        prefix.logits = self._decode_on(prefix, first)[:, -1]
        if prefix.cache is None or not hasattr(prefix.cache, "batch_repeat_interleave"):
            prefix.cache, prefix.tokens = None, first
        return prefix

    def advance(self, prefix: Prefix, tokens: Int[Tensor, "b k"]) -> Float[Tensor, "b k v"]:
        """Read answer tokens after a prefix; return logits of what follows each of them."""
        if prefix.tokens is None:
            return self._decode_on(prefix, tokens)
        prefix.tokens = torch.cat([prefix.tokens, tokens], dim=1)
        return self._decode_on(prefix, prefix.tokens, keep=False)[:, -tokens.shape[1] :]

    def _decode_on(self, prefix: Prefix, tokens: Tensor, keep: bool = True) -> Tensor:
        kept = {self.cache_name: prefix.cache} if keep and prefix.cache is not None else {}
        result = self.model(
            encoder_outputs=self._encoded_as(last_hidden_state=prefix.encoded),
            attention_mask=prefix.mask,
            decoder_input_ids=tokens,
            use_cache=keep,
            **kept,
        )
        prefix.cache = getattr(result, self.cache_name, None) if keep and self.cache_name else None
        logits: Tensor = result.logits
        return logits
