"""Decoder-only backbones (Llama and kin): prompt, then BOS, input, answer in one sequence.

Training pads at the right with explicit positions, so that learned positions are right too;
generation pads at the left, before the prompt. The loss counts answer tokens only.
Must not import methods or training.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dtvg.backbones.base import Backbone, Encoded, TokenBatch, padded

ANSWER_MARK = " answer:"
"""Stands between input and answer, since one sequence holds both."""


class DecoderOnly(Backbone):
    """A frozen causal model with soft prompts before everything, BOS included."""

    family = "decoder_only"

    def _source_ids(self, sources: list[str], limit: int) -> list[list[int]]:
        bos = self.tokenizer.bos_token_id
        front = [] if bos is None else [int(bos)]
        mark = list(self.tokenizer(ANSWER_MARK, add_special_tokens=False)["input_ids"])
        plain = self.tokenizer(sources, add_special_tokens=False)["input_ids"]
        room = max(1, limit - len(front) - len(mark))
        return [[*front, *ids[:room], *mark] for ids in plain]

    def collate(self, examples: Sequence[Encoded]) -> TokenBatch:
        """Pad examples into one batch on the device; `ids` hold input and answer."""
        whole = [np.concatenate([e.source, e.target[:-1]]) for e in examples]
        ids, mask = padded(whole, self.pad_id)
        labels, label_mask = padded([e.target for e in examples], 0)
        parts = (ids, mask, labels, label_mask)
        return TokenBatch(*(p.to(self.device, non_blocking=True) for p in parts))

    def outputs(
        self, prompt: Float[Tensor, "b r d"], batch: TokenBatch
    ) -> tuple[Float[Tensor, "b u v"], Float[Tensor, "b u d"]]:
        """Return logits and last hidden state at the target positions (teacher forcing)."""
        length = prompt.shape[1]
        embeds = torch.cat([prompt.to(self.dtype), self.embed(batch.ids)], dim=1)
        front = torch.ones(prompt.shape[:2], dtype=torch.long, device=embeds.device)
        mask = torch.cat([front, batch.mask.long()], dim=1)
        result = self._run(embeds, mask)
        # the token at position p predicts the one at p + 1: a row's answer is predicted from
        # the last input token on
        first = length + batch.mask.sum(-1) - batch.label_mask.sum(-1)
        offsets = torch.arange(batch.labels.shape[1], device=embeds.device)
        places = (first[:, None] + offsets).clamp(max=embeds.shape[1] - 1)
        hidden = torch.gather(result, 1, places[..., None].expand(-1, -1, result.shape[-1]))
        return self.model.get_output_embeddings()(hidden), hidden

    def _run(self, embeds: Tensor, mask: Tensor) -> Tensor:
        """Return the last hidden state `[b t d]`, taken before the output layer."""
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        options = {"position_ids": positions} if self._takes_positions else {}
        body = self.model.base_model
        hidden: Tensor = body(
            inputs_embeds=embeds, attention_mask=mask, use_cache=False, **options
        ).last_hidden_state
        return hidden

    @property
    def _takes_positions(self) -> bool:
        return "position_ids" in inspect.signature(self.model.base_model.forward).parameters

    @torch.no_grad()
    def generate(
        self, prompt: Float[Tensor, "b r d"], sources: Sequence[np.ndarray], max_new_tokens: int
    ) -> list[str]:
        """Answer greedily; return one text per input."""
        length, width = prompt.shape[1], max(len(s) for s in sources)
        embeds = torch.zeros(
            (len(sources), length + width, self.width), dtype=self.dtype, device=self.device
        )
        mask = torch.zeros(embeds.shape[:2], dtype=torch.long, device=self.device)
        for i, source in enumerate(sources):
            start = width - len(source)
            ids = torch.as_tensor(source, device=self.device)
            embeds[i, start : start + length] = prompt[i].to(self.dtype)
            embeds[i, start + length :] = self.embed(ids[None])[0]
            mask[i, start:] = 1
        answer = self.model.generate(
            inputs_embeds=embeds,
            attention_mask=mask,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            eos_token_id=self.eos_id,
            pad_token_id=self.pad_id,
        )
        return self.decode(answer)
