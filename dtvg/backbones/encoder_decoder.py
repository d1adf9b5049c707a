"""Encoder-decoder backbones (T5 and kin): the prompt stands before the encoder's input only.

As PEFT does with `num_transformer_submodules: 1`. Must not import methods or training.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dtvg.backbones.base import Backbone, Encoded, TokenBatch, padded


class EncoderDecoder(Backbone):
    """A frozen encoder-decoder model with soft prompts before the encoder's embeddings."""

    family = "encoder_decoder"

    def _source_ids(self, sources: list[str], limit: int) -> list[list[int]]:
        encoded = self.tokenizer(sources, truncation=True, max_length=limit)["input_ids"]
        return [list(ids) for ids in encoded]

    def collate(self, examples: Sequence[Encoded]) -> TokenBatch:
        """Pad examples into one batch on the device."""
        ids, mask = padded([e.source for e in examples], self.pad_id)
        labels, label_mask = padded([e.target for e in examples], 0)
        parts = (ids, mask, labels, label_mask)
        return TokenBatch(*(p.to(self.device, non_blocking=True) for p in parts))

    def outputs(
        self, prompt: Float[Tensor, "b r d"], batch: TokenBatch
    ) -> tuple[Float[Tensor, "b u v"], Float[Tensor, "b u d"]]:
        """Return logits and last hidden state at the target positions (teacher forcing)."""
        embeds, mask = self._prepend(prompt, batch.ids, batch.mask)
        start = int(self.model.config.decoder_start_token_id)
        shifted = torch.nn.functional.pad(batch.labels[:, :-1], (1, 0), value=start)
        result = self.model(
            inputs_embeds=embeds,
            attention_mask=mask,
            decoder_input_ids=shifted,
            output_hidden_states=True,
            use_cache=False,
        )
        return result.logits, result.decoder_hidden_states[-1]

    @torch.no_grad()
    def generate(
        self, prompt: Float[Tensor, "b r d"], sources: Sequence[np.ndarray], max_new_tokens: int
    ) -> list[str]:
        """Answer greedily; return one text per input."""
        ids, mask = (p.to(self.device) for p in padded(sources, self.pad_id))
        embeds, mask = self._prepend(prompt, ids, mask)
        answer = self.model.generate(
            inputs_embeds=embeds,
            attention_mask=mask,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
        )
        return self.decode(answer)

    def _prepend(self, prompt: Tensor, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        embeds = torch.cat([prompt.to(self.dtype), self.embed(ids)], dim=1)
        front = torch.ones(prompt.shape[:2], dtype=torch.long, device=mask.device)
        return embeds, torch.cat([front, mask.long()], dim=1)
