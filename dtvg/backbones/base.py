"""The frozen backbone: soft prompts go in front of input embeddings, nothing is patched.

Everything a method or the training loop needs from a language model is the small interface
`Backbone`; the two families implement it over `inputs_embeds`. Weights never require a
gradient and the model stays in eval mode unless dropout is asked for.
Must not import methods, training, streamlit or plotly. METHOD.md "Settings the paper uses".
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dtvg.backbones.specs import location
from dtvg.config import BackboneConfig
from dtvg.errors import ConfigError

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}


@dataclass(frozen=True)
class Encoded:
    """One example as token ids: what is read and what is answered (with its end mark)."""

    source: np.ndarray
    target: np.ndarray

    @property
    def tokens(self) -> int:
        """Input and target tokens, without prompt or padding."""
        return len(self.source) + len(self.target)


@dataclass(frozen=True)
class TokenBatch:
    """Examples padded for one forward pass, on the device."""

    ids: Int[Tensor, "b t"]
    mask: Bool[Tensor, "b t"]
    labels: Int[Tensor, "b u"]
    label_mask: Bool[Tensor, "b u"]


class Backbone(ABC):
    """A frozen language model that answers with a soft prompt in front of its input."""

    family: str

    def __init__(
        self, model: Any, tokenizer: Any, name: str, revision: str, dropout: float = 0.0
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.name = name
        self.revision = revision
        self.dropout = dropout
        self.device: torch.device = next(model.parameters()).device
        self.dtype: torch.dtype = next(model.parameters()).dtype
        embeddings = model.get_input_embeddings()
        self.width = int(embeddings.weight.shape[1])
        self.vocabulary = int(embeddings.weight.shape[0])
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = dropout

    @property
    def pad_id(self) -> int:
        """Token id used to fill up a batch; it is masked everywhere."""
        pad = self.tokenizer.pad_token_id
        return int(pad if pad is not None else self.eos_id)

    @property
    def eos_id(self) -> int:
        """Token id that ends an answer."""
        eos = self.tokenizer.eos_token_id
        if eos is None:
            eos = self.model.config.eos_token_id
        return int(eos[0] if isinstance(eos, list) else eos)

    def embed(self, ids: Int[Tensor, "b t"]) -> Float[Tensor, "b t d"]:
        """Look up input embeddings."""
        embedded: Tensor = self.model.get_input_embeddings()(ids)
        return embedded

    def init_prompt(self, length: int, seed: int, vocabulary: int = 5000) -> Float[Tensor, "r d"]:
        """Draw the initial prompt: embeddings of distinct frequent tokens (METHOD.md).

        Args:
            length: prompt length r.
            seed: the draw is a pure function of it and the tokenizer.
            vocabulary: tokens are drawn from the first so many ids, special ones left out.

        Returns:
            float32 on the CPU.

        Raises:
            ConfigError: if r tokens are more than there are to draw from.
        """
        special = {int(i) for i in self.tokenizer.all_special_ids}
        allowed = [i for i in range(min(vocabulary, self.vocabulary)) if i not in special]
        if length > len(allowed):
            raise ConfigError(
                f"Prompt length {length} is more than the {len(allowed)} tokens the initial "
                f"prompt draws from (backbone '{self.name}', first {vocabulary} ids without "
                "special tokens); set prompt.length lower or prompt.vocabulary higher."
            )
        chosen = np.random.default_rng([7919, seed]).permutation(np.array(allowed))[:length]
        weight = self.model.get_input_embeddings().weight
        return weight[torch.as_tensor(chosen, device=weight.device)].float().cpu().clone()

    def training(self, active: bool) -> None:
        """Switch dropout on or off; with `dropout` 0 the model always stays in eval mode."""
        self.model.train(active and self.dropout > 0)

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
        source_ids = self._source_ids(list(sources), max_source_tokens)
        ids = self.tokenizer(list(targets), add_special_tokens=False)["input_ids"]
        return [
            Encoded(
                np.asarray(source, dtype=np.int64),
                np.asarray([*target[: max_target_tokens - 1], self.eos_id], dtype=np.int64),
            )
            for source, target in zip(source_ids, ids, strict=True)
        ]

    @abstractmethod
    def _source_ids(self, sources: list[str], limit: int) -> list[list[int]]:
        """Token ids of inputs, special tokens included."""

    @abstractmethod
    def collate(self, examples: Sequence[Encoded]) -> TokenBatch:
        """Pad examples into one batch on the device."""

    @abstractmethod
    def outputs(
        self, prompt: Float[Tensor, "b r d"], batch: TokenBatch
    ) -> tuple[Float[Tensor, "b u v"], Float[Tensor, "b u d"]]:
        """Return logits and last hidden state at the target positions (teacher forcing)."""

    @abstractmethod
    def generate(
        self, prompt: Float[Tensor, "b r d"], sources: Sequence[np.ndarray], max_new_tokens: int
    ) -> list[str]:
        """Answer greedily; return one text per input."""

    def loss(
        self, prompt: Float[Tensor, "b r d"], batch: TokenBatch
    ) -> tuple[Float[Tensor, " b"], Int[Tensor, " b"]]:
        """Return summed negative log-likelihood and target token count per example.

        The loss of a run's step is `Σ nll / Σ tokens` over its examples; float32 at least.
        """
        logits, _ = self.outputs(prompt, batch)
        wide = logits if logits.dtype == torch.float64 else logits.float()
        nll = torch.nn.functional.cross_entropy(
            wide.flatten(0, 1), batch.labels.flatten(), reduction="none"
        ).view_as(batch.labels)
        return (nll * batch.label_mask).sum(-1), batch.label_mask.sum(-1)

    def decode(self, ids: Int[Tensor, "b k"]) -> list[str]:
        """Turn generated ids into texts without special tokens."""
        texts: list[str] = self.tokenizer.batch_decode(ids, skip_special_tokens=True)
        return [text.strip() for text in texts]


def padded(rows: Sequence[np.ndarray], fill: int, left: bool = False) -> tuple[Tensor, Tensor]:
    """Stack rows of ids into `[b t]` with a bool mask; padding at the right unless `left`."""
    width = max((len(row) for row in rows), default=0)
    ids = np.full((len(rows), width), fill, dtype=np.int64)
    mask = np.zeros((len(rows), width), dtype=bool)
    for i, row in enumerate(rows):
        place = slice(width - len(row), width) if left else slice(0, len(row))
        ids[i, place] = row
        mask[i, place] = True
    return torch.from_numpy(ids), torch.from_numpy(mask)


def load_backbone(
    config: BackboneConfig, device: str = "cpu", precision: str = "float32"
) -> Backbone:
    """Load a backbone from a folder or the hub, frozen, onto a device.

    Args:
        config: name ('demo', hub id or folder), revision and dropout.
        device: a torch device name.
        precision: `float32`, `bfloat16`, `float16` or `float64`.

    Raises:
        ConfigError: if the name means nothing, or loading fails (with the library's reason).
    """
    import transformers

    from dtvg.backbones.decoder_only import DecoderOnly
    from dtvg.backbones.encoder_decoder import EncoderDecoder

    place = location(config.name)
    options: dict[str, Any] = {"revision": config.revision} if config.revision else {}
    transformers.utils.logging.disable_progress_bar()
    try:
        settings = transformers.AutoConfig.from_pretrained(place, **options)
        tokenizer = transformers.AutoTokenizer.from_pretrained(place, **options)
        loader: Any = (
            transformers.AutoModelForSeq2SeqLM
            if settings.is_encoder_decoder
            else transformers.AutoModelForCausalLM
        )
        model = loader.from_pretrained(place, dtype=DTYPES[precision], **options)
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"Backbone '{config.name}' cannot be loaded: {reason} Give a folder written by "
            "save_pretrained, or go online once so that the hub's files are cached."
        ) from None
    family = EncoderDecoder if settings.is_encoder_decoder else DecoderOnly
    revision = config.revision or _revision(place, settings)
    return family(model.to(device), tokenizer, config.name, revision, config.dropout)


def _revision(place: str, settings: Any) -> str:
    """Return what identifies the weights: the hub's commit, or a hash of a folder's files."""
    folder = Path(place)
    if not folder.is_dir():
        return str(getattr(settings, "_commit_hash", None) or "unknown")
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".safetensors", ".bin", ".json", ".model"):
            continue
        size = path.stat().st_size
        digest.update(f"{path.name} {size}".encode())
        with path.open("rb") as file:
            digest.update(file.read(1 << 26))
            if size > 1 << 26:
                file.seek(-(1 << 20), 2)
                digest.update(file.read())
    return digest.hexdigest()[:16]
