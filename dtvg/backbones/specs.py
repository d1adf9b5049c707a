"""Backbones by name: rows of data and how a name becomes a folder or a hub id."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dtvg import paths
from dtvg.backbones.gguf_header import SUFFIX, beside, check_usable, read_header
from dtvg.backbones.speech import Speech, needs_space
from dtvg.errors import ConfigError, nearest
from dtvg.plain_text import load_json


@dataclass(frozen=True)
class BackboneSpec:
    """One backbone people choose by name; sizes as in its published configuration."""

    name: str
    title: str
    family: str
    """`encoder_decoder` or `decoder_only`."""
    parameters: str
    licence: str
    width: int = 0
    """Width of the input embeddings, so of a prompt: d."""
    layers: int = 0
    """Of the encoder where there is one."""
    feed_forward: int = 0
    vocabulary: int = 0
    hidden: int = 0
    """Width of the layers where it is not `width` (opt-350m); 0: the same."""


_FAMILIES = {"T": "encoder_decoder", "C": "decoder_only"}

# name | title | family | parameters | width, layers, feed-forward, vocabulary | licence
_ROWS = """
google-t5/t5-small | T5 small | T | 60 M | 512 6 2048 32128 | Apache-2.0
google-t5/t5-base | T5 base | T | 220 M | 768 12 3072 32128 | Apache-2.0
google-t5/t5-large | T5 large | T | 770 M | 1024 24 4096 32128 | Apache-2.0
google-t5/t5-3b | T5 3B | T | 2.8 B | 1024 24 16384 32128 | Apache-2.0
google/t5-v1_1-small | T5 1.1 small | T | 77 M | 512 8 1024 32128 | Apache-2.0
google/t5-v1_1-base | T5 1.1 base | T | 250 M | 768 12 2048 32128 | Apache-2.0
google/t5-v1_1-large | T5 1.1 large | T | 780 M | 1024 24 2816 32128 | Apache-2.0
google/t5-small-lm-adapt | T5 1.1 small, LM-adapted | T | 77 M | 512 8 1024 32128 | Apache-2.0
google/t5-base-lm-adapt | T5 1.1 base, LM-adapted | T | 250 M | 768 12 2048 32128 | Apache-2.0
google/t5-large-lm-adapt | T5 1.1 large, LM-adapted | T | 780 M | 1024 24 2816 32128 | Apache-2.0
google/t5-xl-lm-adapt | T5 1.1 XL, LM-adapted | T | 2.8 B | 2048 24 5120 32128 | Apache-2.0
google/flan-t5-small | Flan-T5 small | T | 77 M | 512 8 1024 32128 | Apache-2.0
google/flan-t5-base | Flan-T5 base | T | 250 M | 768 12 2048 32128 | Apache-2.0
google/flan-t5-large | Flan-T5 large | T | 780 M | 1024 24 2816 32128 | Apache-2.0
google/flan-t5-xl | Flan-T5 XL | T | 2.8 B | 2048 24 5120 32128 | Apache-2.0
google/mt5-small | mT5 small | T | 300 M | 512 8 1024 250112 | Apache-2.0
google/mt5-base | mT5 base | T | 580 M | 768 12 2048 250112 | Apache-2.0
google/umt5-small | umT5 small | T | 310 M | 512 8 1024 256384 | Apache-2.0
google/umt5-base | umT5 base | T | 590 M | 768 12 2048 256384 | Apache-2.0
google/byt5-small | ByT5 small | T | 300 M | 1472 12 3584 384 | Apache-2.0
google/byt5-base | ByT5 base | T | 580 M | 1536 18 3968 384 | Apache-2.0
facebook/bart-base | BART base | T | 140 M | 768 6 3072 50265 | Apache-2.0
facebook/bart-large | BART large | T | 410 M | 1024 12 4096 50265 | Apache-2.0
meta-llama/Llama-3.2-1B | Llama 3.2 1B | C | 1.2 B | 2048 16 8192 128256 | Llama 3.2
meta-llama/Llama-3.2-3B | Llama 3.2 3B | C | 3.2 B | 3072 28 8192 128256 | Llama 3.2
meta-llama/Llama-3.1-8B | Llama 3.1 8B | C | 8.0 B | 4096 32 14336 128256 | Llama 3.1
Qwen/Qwen2.5-0.5B | Qwen2.5 0.5B | C | 490 M | 896 24 4864 151936 | Apache-2.0
Qwen/Qwen2.5-1.5B | Qwen2.5 1.5B | C | 1.5 B | 1536 28 8960 151936 | Apache-2.0
Qwen/Qwen3-0.6B-Base | Qwen3 0.6B | C | 600 M | 1024 28 3072 151936 | Apache-2.0
Qwen/Qwen3-1.7B-Base | Qwen3 1.7B | C | 1.7 B | 2048 28 6144 151936 | Apache-2.0
EleutherAI/pythia-70m | Pythia 70M | C | 70 M | 512 6 2048 50304 | Apache-2.0
EleutherAI/pythia-160m | Pythia 160M | C | 160 M | 768 12 3072 50304 | Apache-2.0
EleutherAI/pythia-410m | Pythia 410M | C | 410 M | 1024 24 4096 50304 | Apache-2.0
EleutherAI/pythia-1.4b | Pythia 1.4B | C | 1.4 B | 2048 24 8192 50304 | Apache-2.0
EleutherAI/gpt-j-6b | GPT-J 6B | C | 6.1 B | 4096 28 16384 50400 | Apache-2.0
facebook/opt-125m | OPT 125M | C | 125 M | 768 12 3072 50272 | OPT licence
facebook/opt-350m | OPT 350M | C | 330 M | 512 24 4096 50272 1024 | OPT licence
facebook/opt-1.3b | OPT 1.3B | C | 1.3 B | 2048 24 8192 50272 | OPT licence
openai-community/gpt2 | GPT-2 | C | 124 M | 768 12 3072 50257 | MIT
openai-community/gpt2-medium | GPT-2 medium | C | 355 M | 1024 24 4096 50257 | MIT
mistralai/Mistral-7B-v0.3 | Mistral 7B | C | 7.2 B | 4096 32 14336 32768 | Apache-2.0
google/gemma-3-270m | Gemma 3 270M | C | 270 M | 640 18 2048 262144 | Gemma
google/gemma-2-2b | Gemma 2 2B | C | 2.6 B | 2304 26 9216 256000 | Gemma
microsoft/phi-1_5 | Phi 1.5 | C | 1.4 B | 2048 24 8192 51200 | MIT
microsoft/phi-2 | Phi 2 | C | 2.8 B | 2560 32 10240 51200 | MIT
tiiuae/falcon-rw-1b | Falcon RW 1B | C | 1.3 B | 2048 24 8192 50304 | Apache-2.0
tiiuae/falcon-7b | Falcon 7B | C | 7.2 B | 4544 32 18176 65024 | Apache-2.0
bigscience/bloom-560m | BLOOM 560M | C | 560 M | 1024 24 4096 250880 | BigScience RAIL 1.0
HuggingFaceTB/SmolLM2-135M | SmolLM2 135M | C | 135 M | 576 30 1536 49152 | Apache-2.0
smollm2-135m | SmolLM2 135M Instruct (GGUF) | C | 135 M | 576 30 1536 49152 | Apache-2.0
HuggingFaceTB/SmolLM2-360M | SmolLM2 360M | C | 360 M | 960 32 2560 49152 | Apache-2.0
"""


def _spec(row: str) -> BackboneSpec:
    name, title, family, parameters, sizes, licence = (part.strip() for part in row.split(" | "))
    width, layers, wide, vocabulary, *hidden = (int(size) for size in sizes.split())
    return BackboneSpec(
        name,
        title,
        _FAMILIES[family],
        parameters,
        licence,
        width,
        layers,
        wide,
        vocabulary,
        *hidden,
    )


_DEMO = BackboneSpec("demo", "Embedded tiny T5 (demo)", "encoder_decoder", "<4 M", "Apache-2.0")
BACKBONES: dict[str, BackboneSpec] = {
    spec.name: spec for spec in (_DEMO, *(_spec(row) for row in _ROWS.strip().splitlines()))
}

FETCHED = ("smollm2-135m",)
"""Names of backbones that come in a package (`fetching`), not from a hub."""


@dataclass(frozen=True)
class BackboneFacts:
    """A backbone's sizes, for planning without loading it."""

    width: int
    """Of the input embeddings, so of a prompt."""
    vocabulary: int
    layers: int
    encoder_decoder: bool
    feed_forward: int = 0
    hidden: int = 0
    """Width of the layers; 0: `width`."""
    heads: int = 0
    """Attention heads of a layer; 0: not known."""

    @property
    def matmul_parameters(self) -> int:
        """Rough count of weights an input token passes (encoder side of an encoder-decoder)."""
        inner = self.hidden or self.width
        return self.layers * (4 * inner**2 + 3 * inner * (self.feed_forward or inner * 4))


def location(name: str) -> str:
    """Return the folder, GGUF file or hub id that `name` stands for.

    A name is looked for in `<home>/models` too; a folder may hold one GGUF file.

    Raises:
        ConfigError: if it is neither a known name, a folder with a config.json or a GGUF file,
            a GGUF file, nor a hub id.
    """
    if name == "demo":
        folder = paths.demo() / "backbone"
        if not (folder / "config.json").exists():
            raise ConfigError(
                f"There is no demo backbone in '{folder}'; `dtvg demo build` makes it."
            )
        return str(folder)
    try:
        found = _on_disk(name)
    except (OSError, RuntimeError) as error:  # a name too long, or of nobody's home folder
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(
            f"Backbone '{name}' cannot be looked for ({why}); give a name that "
            "`dtvg backbones list` shows, a hub id OWNER/NAME, a folder or a GGUF file."
        ) from None
    if found is not None:
        return found
    if is_gguf(name):
        raise ConfigError(f"There is no GGUF file '{name}'; check the path.")
    if name in FETCHED:
        raise ConfigError(
            f"Backbone '{name}' is not on this machine; `dtvg backbones fetch {name}` fetches it."
        )
    if name in BACKBONES or (name.count("/") == 1 and not name.startswith((".", "/", "~"))):
        return name
    if name.startswith(("/", "~", "./", "../")):
        raise ConfigError(
            f"There is no backbone folder '{name}' on this machine; copy or mount it there under "
            "the same path, or name another one."
        )
    tails = {known.split("/")[-1].lower(): known for known in BACKBONES}
    match = tails.get(name.lower()) or tails.get(nearest(name, tails) or "")
    hint = f" Did you mean '{match}'?" if match else ""
    raise ConfigError(
        f"Unknown backbone '{name}'.{hint} Allowed: a name that `dtvg backbones list` "
        "shows, another hub id OWNER/NAME, a folder written by save_pretrained, or a GGUF file."
    )


def _on_disk(name: str) -> str | None:
    """Return the folder or GGUF file of a name; None where there is none.

    Raises:
        ConfigError: its folder holds no backbone.
        OSError, RuntimeError: no file system takes the name.
    """
    places = [Path(name).expanduser()]
    if "/" not in name and not name.startswith("."):
        places += [paths.models() / name, paths.models() / f"{name}{SUFFIX}"]
    for place in places:
        if place.is_dir():
            return _in_folder(place, name)
        if place.is_file() and is_gguf(place):
            return str(place)
    return None


def _in_folder(folder: Path, name: str) -> str:
    """Return a folder with a config.json, or the one GGUF file in it."""
    if (folder / "config.json").exists():
        return str(folder)
    files = sorted(path for path in folder.iterdir() if path.is_file() and is_gguf(path))
    if len(files) == 1:
        return str(files[0])
    if files:
        raise ConfigError(
            f"Backbone folder '{name}' holds {len(files)} GGUF files "
            f"({', '.join(path.name for path in files[:4])}); name one of them."
        )
    raise ConfigError(
        f"Backbone folder '{name}' has no config.json; give a folder written by "
        "save_pretrained, a GGUF file, or a hub id."
    )


def is_gguf(place: str | Path) -> bool:
    """Whether a place is named as a GGUF file."""
    return Path(place).suffix.lower() == SUFFIX


def kept_here() -> list[str]:
    """Return the names of the backbones in `<home>/models`."""
    folder = paths.models()
    if not folder.is_dir():
        return []
    found = []
    for path in sorted(folder.iterdir()):
        name = path.stem if path.is_file() and is_gguf(path) else path.name
        if path.name.startswith(".") or not (path.is_dir() or is_gguf(path)):
            continue
        with contextlib.suppress(ConfigError):
            location(name)
            found.append(name)
    return list(dict.fromkeys(found))


def check(name: str) -> None:
    """Refuse a backbone that could not be loaded, as far as its name and files tell.

    Raises:
        ConfigError: as `location`; a folder lacks weights; a GGUF file is damaged, or the
            packages that read it are missing.
    """
    place = location(name)
    if is_gguf(place):
        check_usable(name, Path(place))
    elif Path(place).is_dir() and not _has_weights(Path(place)):
        raise ConfigError(
            f"Backbone folder '{name}' has a config.json but no whole weights "
            f"({', '.join(WEIGHTS)}, or all parts that their index lists); copy them there, or "
            "give another folder."
        )


def facts(name: str) -> BackboneFacts | None:
    """Return a backbone's sizes: from its config.json or GGUF header, else by its row.

    Args:
        name: 'demo', a folder, a GGUF file or a hub id (its cache); nothing is downloaded.

    Returns:
        None where neither a file nor a row tells.
    """
    values = _config_on_disk(name)
    found = _facts_of_gguf(name) if values is None else _facts_of(values)
    if found is not None or name not in BACKBONES:
        return found
    row = BACKBONES[name]
    if not row.width:
        return None
    return BackboneFacts(
        width=row.width,
        vocabulary=row.vocabulary,
        layers=row.layers,
        encoder_decoder=row.family == "encoder_decoder",
        feed_forward=row.feed_forward,
        hidden=row.hidden,
    )


def on_disk(name: str) -> bool:
    """Whether a backbone's configuration is on disk: its folder or file, or the hub's cache."""
    return _config_on_disk(name) is not None or _gguf_file(name) is not None


def has_chat_template(name: str) -> bool | None:
    """Whether a backbone's tokenizer comes with a chat template; None where no file tells."""
    file = _gguf_file(name)
    try:
        if file is not None:
            return read_header(file).has_template
        folder = _folder_on_disk(name)
        if folder is None or not (folder / TOKENIZER_CONFIG).is_file():
            return None
        values = load_json((folder / TOKENIZER_CONFIG).read_text(encoding="utf-8"))
    except (ConfigError, OSError, ValueError):
        return None
    return (folder / CHAT_TEMPLATE).is_file() or bool(values.get("chat_template"))


def _gguf_file(name: str) -> Path | None:
    """Return the GGUF file that a name stands for; None where it stands for something else."""
    try:
        place = location(name)
    except ConfigError:
        return None
    return Path(place) if is_gguf(place) else None


def _facts_of_gguf(name: str) -> BackboneFacts | None:
    """Read sizes in a GGUF file's header."""
    file = _gguf_file(name)
    if file is None:
        return None
    try:
        header = read_header(file)
    except ConfigError:
        return None
    width, vocabulary = header.embeddings
    layers = header.size("block_count")
    if not width or not layers:
        return None
    return BackboneFacts(
        width=width,
        vocabulary=vocabulary,
        layers=layers,
        encoder_decoder=header.architecture == "t5",
        feed_forward=header.size("feed_forward_length"),
    )


def _config_on_disk(name: str) -> dict[str, Any] | None:
    """Read config.json of a folder, or of a hub id that was downloaded before."""
    try:
        folder = _folder_on_disk(name)
        if folder is None:
            return None
        values = load_json((folder / "config.json").read_text(encoding="utf-8"))
    except (ConfigError, OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None


WEIGHTS = ("model.safetensors", "pytorch_model.bin")
TOKENIZERS = ("tokenizer.json", "spiece.model", "tokenizer.model", "vocab.json", "vocab.txt",
              "tokenizer_config.json")  # fmt: skip


def whole_in_cache(name: str, revision: str | None = None) -> Path | None:
    """Return the folder of the hub's cache that holds a model as a whole.

    Args:
        name: a hub id.
        revision: commit, tag or branch; None: the newest that was fetched.

    Returns:
        None where its configuration, its tokenizer or a part of its weights is not there.
    """
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        cached = try_to_load_from_cache(name, "config.json", revision=revision)
    except (HFValidationError, OSError):
        return None
    if not isinstance(cached, str):
        return None
    folder = Path(cached).parent
    tokenizer = any((folder / one).exists() for one in TOKENIZERS)
    return folder if tokenizer and _has_weights(folder) else None


def _has_weights(folder: Path) -> bool:
    """Whether all weights are there: one file, or every part that an index lists."""
    if any((folder / one).exists() for one in WEIGHTS):
        return True
    for one in WEIGHTS:
        try:
            listed = load_json((folder / f"{one}.index.json").read_text(encoding="utf-8"))
            parts = set(listed["weight_map"].values())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        return bool(parts) and all((folder / part).exists() for part in parts)
    return False


def _folder_on_disk(name: str) -> Path | None:
    """Return the folder with a backbone's config.json: its own, or in the hub's cache."""
    place = location(name)
    if is_gguf(place):
        return None
    if Path(place).is_dir():
        return Path(place)
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(name, "config.json")
    return Path(cached).parent if isinstance(cached, str) else None


_WIDTH = ("word_embed_proj_dim", "embedding_size", "d_model", "hidden_size", "n_embd", "n_embed")
_HIDDEN = ("d_model", "hidden_size", "n_embd", "n_embed")
_HEADS = ("num_attention_heads", "num_heads", "n_head", "n_heads", "encoder_attention_heads")
_LAYERS = ("num_layers", "num_hidden_layers", "n_layer", "n_layers", "encoder_layers")
_WIDE = ("d_ff", "intermediate_size", "ffn_dim", "encoder_ffn_dim", "ffn_hidden_size", "n_inner")


def _facts_of(values: dict[str, Any]) -> BackboneFacts | None:
    """Read sizes under the names the libraries' model families use."""
    for nested in ("text_config", "encoder", "decoder"):
        inner = values.get(nested)
        if isinstance(inner, dict):
            values = {**inner, **{k: v for k, v in values.items() if k != nested}}

    def first(names: tuple[str, ...]) -> int:
        found = (values[n] for n in names if isinstance(values.get(n), int) and values[n])
        return next(found, 0)

    width, hidden, layers = first(_WIDTH), first(_HIDDEN), first(_LAYERS)
    if not width or not layers:
        return None
    return BackboneFacts(
        width=width,
        vocabulary=first(("vocab_size",)),
        layers=layers,
        encoder_decoder=bool(values.get("is_encoder_decoder", False)),
        feed_forward=first(_WIDE),
        hidden=0 if hidden == width else hidden,
        heads=first(_HEADS),
    )


FILE = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
CHAT_TEMPLATE = "chat_template.jinja"


def token_counts(texts: Sequence[str], backbone: str = "demo", special: bool = True) -> list[int]:
    """Count the tokens of each text.

    Args:
        texts: what is counted.
        backbone: 'demo', a folder, or a hub id whose tokenizer is in the hub's cache.
        special: count the special tokens that the tokenizer adds (T5's end mark).

    Raises:
        ConfigError: if the backbone has no fast tokenizer on disk.
    """
    path = _tokenizer_file(backbone)
    found = _open(str(path), path.stat().st_mtime_ns)
    encoded = found.encode_batch(list(texts), add_special_tokens=special)
    return [len(one.ids) for one in encoded]


def token_pieces(text: str, backbone: str = "demo") -> list[str]:
    """Return a text's tokens as the tokenizer writes them, without special ones."""
    path = _tokenizer_file(backbone)
    found = _open(str(path), path.stat().st_mtime_ns)
    return [str(piece) for piece in found.encode(text, add_special_tokens=False).tokens]


def speech_of(backbone: str) -> Speech:
    """Return how a backbone's tokenizer writes answers and reads inputs, from its files.

    Args:
        backbone: 'demo', a folder, or a hub id whose tokenizer is in the hub's cache.

    Raises:
        ConfigError: if the backbone has no fast tokenizer on disk.
    """
    path = _tokenizer_file(backbone)
    changed = path.stat().st_mtime_ns
    found = _open(str(path), changed)
    sizes = facts(backbone)
    joined = sizes is not None and not sizes.encoder_decoder

    def encode(texts: Sequence[str]) -> list[list[int]]:
        encoded = found.encode_batch(list(texts), add_special_tokens=False)
        return [list(one.ids) for one in encoded]

    def decode(rows: list[list[int]]) -> list[str]:
        return [str(text) for text in found.decode_batch(rows, skip_special_tokens=True)]

    spaced = joined and needs_space(lambda text: encode([text])[0])
    return Speech(backbone, encode, decode, _unknown(str(path), changed), spaced, joined)


def tokenizer_stamp(backbone: str) -> str:
    """Return what changes when a backbone's tokenizer file does.

    Raises:
        ConfigError: as `speech_of`.
    """
    path = _tokenizer_file(backbone)
    return f"{path} {path.stat().st_mtime_ns}"


@functools.lru_cache(maxsize=4)
def _unknown(path: str, changed: int) -> int | None:
    """Return the id of the token that stands for what cannot be written; None: there is none."""
    model = load_json(Path(path).read_text(encoding="utf-8")).get("model", {})
    if isinstance(model.get("unk_id"), int):
        return int(model["unk_id"])
    token = model.get("unk_token")
    return None if token is None else _open(path, changed).token_to_id(token)


@functools.lru_cache(maxsize=4)
def _open(path: str, changed: int) -> Any:
    import tokenizers

    try:
        found = tokenizers.Tokenizer.from_file(path)
    except Exception as error:  # noqa: BLE001 - the library raises plain Exception
        reason = " ".join(str(error).split())[:120]
        raise ConfigError(
            f"'{path}' is not a tokenizer ({reason}); save the backbone again."
        ) from None
    found.no_truncation()
    found.no_padding()
    return found


def _tokenizer_file(backbone: str) -> Path:
    """Return the fast tokenizer's file of a folder, of a loaded GGUF file or the hub's cache."""
    place = location(backbone)
    if is_gguf(place):
        kept = beside(Path(place)) / FILE
        if kept.is_file():
            return kept
        raise ConfigError(
            f"The tokenizer of '{backbone}' was not taken out of its GGUF file yet; "
            f"`dtvg backbones check {backbone}` does so."
        )
    if Path(place).is_dir():
        path = Path(place) / FILE
        if path.is_file():
            return path
        raise ConfigError(
            f"Backbone '{backbone}' has no {FILE} in '{place}'; save its fast tokenizer there."
        )
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(place, FILE)
    if isinstance(cached, str):
        return Path(cached)
    raise ConfigError(
        f"The tokenizer of '{backbone}' is not in the hub's cache on this machine; load the "
        "backbone once while online, or give a folder that contains it."
    )
