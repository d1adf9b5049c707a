"""Tiny random models of many architectures, tokenizers included, made in code.

For contract tests without network: what matters is the shape of the architecture (learned,
rotary or alibi positions, projections, soft caps, shared or separate tables), not what it has
learned. Imports torch.
"""

from __future__ import annotations

from typing import Any

TEXT = (
    "a great film once upon time there was little girl she went to the park no yes good bad "
    "sentence sentence1 sentence2 premise answer positive negative story end not very"
)
WORDS = [word for word in TEXT.split() if len(word) > 1]
SPECIAL = ("<pad>", "</s>", "<s>", "<unk>")

_ATTENTION = {"num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 128}
_ROTARY = {**_ATTENTION, "hidden_size": 16, "intermediate_size": 24, "num_key_value_heads": 1}
_T5 = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2}
_BART = {
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "max_position_embeddings": 128,
}
TINY: dict[str, tuple[str, dict[str, Any]]] = {
    "t5": ("t5", _T5),
    "t5-v1.1": ("t5", {**_T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    "mt5": ("mt5", _T5),
    "umt5": ("umt5", _T5),
    "bart": ("bart", {**_BART, "forced_bos_token_id": 2, "scale_embedding": True}),
    "pegasus": ("pegasus", _BART),
    "llama": ("llama", _ROTARY),
    "mistral": ("mistral", {**_ROTARY, "sliding_window": 12}),
    "qwen2": ("qwen2", _ROTARY),
    "qwen3": ("qwen3", {**_ROTARY, "head_dim": 8}),
    "gpt-neox": ("gpt_neox", {**_ATTENTION, "hidden_size": 16, "intermediate_size": 24}),
    "opt": (
        "opt",
        {**_ATTENTION, "hidden_size": 16, "ffn_dim": 24, "word_embed_proj_dim": 8},
    ),
    "gpt2": ("gpt2", {"n_positions": 128, "n_embd": 16, "n_layer": 2, "n_head": 2}),
    "gptj": (
        "gptj",
        {"n_positions": 128, "n_embd": 16, "n_layer": 2, "n_head": 2, "rotary_dim": 4},
    ),
    "gemma": ("gemma", {**_ROTARY, "head_dim": 8}),
    "gemma2": (
        "gemma2",
        {**_ROTARY, "head_dim": 8, "sliding_window": 12, "final_logit_softcapping": 2.0},
    ),
    "gemma3": ("gemma3_text", {**_ROTARY, "head_dim": 8, "sliding_window": 12}),
    "falcon": ("falcon", {**_ATTENTION, "hidden_size": 16, "alibi": False}),
    "falcon-alibi": (
        "falcon",
        {**_ATTENTION, "hidden_size": 16, "alibi": True, "multi_query": False},
    ),
    "bloom": ("bloom", {"hidden_size": 16, "n_layer": 2, "n_head": 2}),
    "mpt": ("mpt", {"d_model": 16, "n_layers": 2, "n_heads": 2, "max_seq_len": 128}),
    "phi": ("phi", {**_ROTARY, "num_key_value_heads": 2}),
    "cohere": ("cohere", {**_ROTARY, "logit_scale": 0.25}),
    "granite": ("granite", {**_ROTARY, "logits_scaling": 4.0, "embedding_multiplier": 3.0}),
}
"""Name → (`model_type`, settings besides vocabulary and special tokens)."""


def make_tokenizer(adds_end: bool, pad: bool = True) -> Any:
    """Build a word tokenizer with single characters for the rest.

    Args:
        adds_end: whether it puts its end mark after a text, as T5's does.
        pad: whether it has a padding token.
    """
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    letters = "abcdefghijklmnopqrstuvwxyz0123456789:.,"
    vocabulary = [*SPECIAL, *letters, *WORDS]
    vocabulary += [f"##{letter}" for letter in letters]
    ids = {token: i for i, token in enumerate(vocabulary)}
    core = Tokenizer(models.WordPiece(ids, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece(prefix="##")
    form = "$A </s>" if adds_end else "<s> $A"
    core.post_processor = processors.TemplateProcessing(
        single=form, special_tokens=[("</s>", 1), ("<s>", 2)]
    )
    marks = {"eos_token": "</s>", "bos_token": "<s>", "unk_token": "<unk>"}
    if pad:
        marks["pad_token"] = "<pad>"
    return transformers.PreTrainedTokenizerFast(tokenizer_object=core, **marks)


TOKENIZERS = ("wordpiece", "byte-level", "sentencepiece", "sentencepiece-bare")
"""Families of tokenizers: WordPiece; byte-level BPE (GPT-2, Llama 3); sentencepiece that puts a
space before every text (T5, Llama 2), and one that does not (Gemma)."""


def make_tokenizer_of(kind: str) -> Any:
    """Train a small tokenizer of one of the `TOKENIZERS`, with the marks of `make_tokenizer`."""
    import transformers
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    if kind == "wordpiece":
        return make_tokenizer(adds_end=False)
    sentences = [TEXT, f"{TEXT} answer: yes", "premise: no answer: 1", "0 answer: 0 yes yes no"] * 8
    marks = {"eos_token": "</s>", "bos_token": "<s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    common: dict[str, Any] = {"special_tokens": list(SPECIAL), "show_progress": False}
    if kind == "byte-level":
        core = Tokenizer(models.BPE())
        core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        core.decoder = decoders.ByteLevel()
        letters = pre_tokenizers.ByteLevel.alphabet()
        trainer: Any = trainers.BpeTrainer(vocab_size=500, initial_alphabet=letters, **common)
    else:
        core = Tokenizer(models.Unigram())
        bare = kind == "sentencepiece-bare"
        scheme = "never" if bare else "always"
        core.normalizer = normalizers.NFKC()
        core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
        core.decoder = decoders.Metaspace(prepend_scheme=scheme)
        letters = sorted({*"".join(sentences), *"abcdefghijklmnopqrstuvwxyz0123456789", "▁"})
        trainer = trainers.UnigramTrainer(
            vocab_size=220, unk_token="<unk>", initial_alphabet=letters, **common
        )
    core.train_from_iterator(sentences, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=core, **marks)


def make_model(architecture: str, vocabulary: int, spread: float = 0.4, **changes: Any) -> Any:
    """Build a random model of one of `TINY`'s architectures, float32 on the CPU.

    Args:
        architecture: a name of `TINY`, or a `model_type` of transformers.
        vocabulary: embeddings.
        spread: standard deviation of the weights: large enough that answers differ.
        changes: settings that replace the defaults.
    """
    import torch
    import transformers

    kind, settings = TINY.get(architecture, (architecture, {}))
    marks = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
    config = transformers.AutoConfig.for_model(
        kind, **{"vocab_size": vocabulary, **marks, **settings, **changes}
    )
    if config.is_encoder_decoder and getattr(config, "decoder_start_token_id", None) is None:
        config.decoder_start_token_id = 0
    torch.manual_seed(0)
    loader: Any = (
        transformers.AutoModelForSeq2SeqLM
        if config.is_encoder_decoder
        else transformers.AutoModelForCausalLM
    )
    model = loader.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(0.0, spread)
    return model


def make_backbone(
    architecture: str, dtype: Any = None, tokenizer: Any = None, **changes: Any
) -> Any:
    """Build a tiny random backbone, ready for `run_contract`.

    Args:
        architecture: a name of `TINY`, or a `model_type` of transformers.
        dtype: None: float32.
        tokenizer: None: the word tokenizer that fits the architecture.
        changes: settings that replace the defaults.
    """
    import torch

    from dtvg.backbones.decoder_only import DecoderOnly
    from dtvg.backbones.encoder_decoder import EncoderDecoder

    kind = TINY.get(architecture, (architecture, {}))[0]
    joined = kind in ("t5", "mt5", "umt5", "bart", "pegasus", "longt5", "t5gemma")
    tokenizer = tokenizer or make_tokenizer(adds_end=joined)
    model = make_model(architecture, len(tokenizer) + 3, **changes).to(dtype or torch.float32)
    family = EncoderDecoder if model.config.is_encoder_decoder else DecoderOnly
    return family(model, tokenizer, architecture, "0")


def save_backbone(architecture: str, folder: Any, **changes: Any) -> Any:
    """Write a tiny random backbone as `save_pretrained` does; returns the folder."""
    made = make_backbone(architecture, **changes)
    made.model.save_pretrained(folder)
    made.tokenizer.save_pretrained(folder)
    return folder


CHAT = (
    "{% for message in messages %}<s>{{ message['role'] }}\n{{ message['content'] }}</s>\n"
    "{% endfor %}{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)
"""A chat template with the marks of `make_tokenizer`."""


def save_gguf(path: Any, quantised: bool = False, architecture: str = "llama") -> Any:
    """Write a tiny random Llama with a byte-level BPE as llama.cpp does; returns the backbone.

    Args:
        path: of the file.
        quantised: store the feed-forward weights as Q8_0; otherwise all are float32.
        architecture: what the file says it holds.
    """
    import gguf
    import numpy as np

    made = make_backbone(
        "llama",
        tokenizer=make_tokenizer_of("byte-level"),
        hidden_size=32,
        intermediate_size=64,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    config = made.model.config
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("tiny")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    _write_tokenizer(writer, made.tokenizer, config.vocab_size)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, weight in made.model.state_dict().items():
        if name == "lm_head.weight":
            continue
        values = weight.numpy()
        for part, heads in (("q", config.num_attention_heads), ("k", config.num_key_value_heads)):
            if f".{part}_proj." in name:  # llama.cpp keeps the two halves of a head interleaved
                halves = values.reshape(heads, 2, -1, values.shape[1])
                values = halves.swapaxes(1, 2).reshape(values.shape)
        values = np.ascontiguousarray(values, dtype=np.float32)
        kind = gguf.GGMLQuantizationType.F32
        if quantised and ".mlp." in name:
            kind = gguf.GGMLQuantizationType.Q8_0
            values = gguf.quants.quantize(values, kind)
        called = str(names.get_name(name, (".weight",)))
        writer.add_tensor(called, values, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return made


def _write_tokenizer(writer: Any, tokenizer: Any, rows: int) -> None:
    """Write a byte-level BPE; embeddings without a token get one that is never used."""
    import json

    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    tokens = [token for token, _ in sorted(model["vocab"].items(), key=lambda pair: pair[1])]
    tokens += [f"<unused{i}>" for i in range(rows - len(tokens))]
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if t in SPECIAL or t.startswith("<unused") else 1 for t in tokens])
    writer.add_token_merges(merges)
    writer.add_pad_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_bos_token_id(2)
    writer.add_unk_token_id(3)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT)
