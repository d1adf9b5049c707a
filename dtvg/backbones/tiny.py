"""The embedded default's backbone: a tiny T5 and its tokenizer, made from scratch.

Pre-trained on sentences of the demo world: span corruption, plus the world's skills under many
instruction prefixes (cue words, answer words and random other words in any order), so that a
soft prompt can call a skill up. Needs two CPU cores and a few minutes. docs/demo.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from torch import Tensor
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from dtvg.tasks.families import demo
from dtvg.tasks.families import demo_world as world

SEED = 2503
STEPS = 3600
BATCH = 64
CHUNK = 16
"""Batches generated together, so that each holds texts of similar length."""
LEARNING_RATE = 1.2e-3
POSITION_RATE = 30.0
"""How many times faster the relative positions learn: they start near zero."""
SPECIAL = ("<pad>", "</s>", "<unk>", *(f"<extra_id_{i}>" for i in range(4)))
CUES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "mood": (("mood", "praise", "liked"), ("gripe", "blame", "disliked")),
    "denied": (("denial", "negated"), ("affirmed", "stated")),
    "named": (("named", "person"), ("nameless", "nobody")),
    "giver": (("who", "giver", "source"), ()),
    "taker": (("whom", "taker", "goal"), ()),
    "object": (("object", "what"), ()),
    "count": (("count", "number", "many"), ()),
    "where": (("where", "place"), ()),
    "last": (("last", "final"), ()),
}
"""Words that call a skill up: (as it is, inverted)."""
ANSWER_WORDS = (("no", "yes"), ("false", "true"), ("0", "1"))
"""Pairs of answers of judging skills: (not so, so)."""
ASIDES = 0.4
"""Share of examples that ask another question about the same text."""
LEADS = ("", "review:", "note:", "report:", "letter:", "story:", "text:", "list:")
CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
Report = Callable[[str, float], None]


def vocabulary() -> list[str]:
    """Return every token, special ones first, then words by falling frequency in the world."""
    rng = Random(SEED)
    counts: Counter[str] = Counter()
    for _ in range(20_000):
        counts.update(world.words_of(world.tale(rng)))
    cues = [word for pair in CUES.values() for words in pair for word in words]
    extra = [*(w for pair in ANSWER_WORDS for w in pair), *cues, *world.NUMBERS]
    extra += [lead.rstrip(":") for lead in LEADS if lead]
    words = sorted(counts, key=lambda word: (-counts[word], word))
    marks = list("?!;'\"()-*#$%&/+=<>@[]_{}|~^`\\") + list(CHARACTERS)
    pieces = [f"##{c}" for c in CHARACTERS]
    return list(dict.fromkeys([*SPECIAL, *words, *extra, *marks, *pieces]))


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Build the tokenizer: whole words of the world, single characters for any other word."""
    ids = {token: index for index, token in enumerate(vocabulary())}
    core = Tokenizer(models.WordPiece(ids, unk_token="<unk>", max_input_chars_per_word=100))
    core.normalizer = normalizers.Sequence(
        [normalizers.NFD(), normalizers.Lowercase(), normalizers.StripAccents()]
    )
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    core.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", ids["</s>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=list(SPECIAL[3:]),
        model_max_length=512,
        clean_up_tokenization_spaces=True,
    )


def make_model(size: int) -> T5ForConditionalGeneration:
    """Build the untrained model: 2 + 2 layers, width 128."""
    torch.manual_seed(SEED)
    config = T5Config(
        vocab_size=size,
        d_model=128,
        d_kv=32,
        num_heads=4,
        d_ff=384,
        num_layers=2,
        num_decoder_layers=2,
        dropout_rate=0.0,
        relative_attention_num_buckets=32,
        relative_attention_max_distance=64,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,  # type: ignore[call-arg]
    )
    return T5ForConditionalGeneration(config)


class Stream:
    """Endless pre-training examples as (input ids, answer ids), a pure function of the seed."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, seed: int = SEED) -> None:
        self.ids: dict[str, int] = tokenizer.get_vocab()
        self.rng = Random(seed)
        reserved = {w for pair in CUES.values() for words in pair for w in words}
        reserved |= {w for pair in ANSWER_WORDS for w in pair} | set(SPECIAL)
        self.fillers = [i for w, i in sorted(self.ids.items()) if w not in reserved]
        self.left_out = demo.all_texts()
        self.domains = [d for d in world.ASPECTS if d != "trip"]
        self.deals = [d for d in world.DEALS if d != "post"]

    ease = 0.0
    """Share of easy examples; pre-training lowers it from 1."""

    def example(self) -> tuple[list[int], list[int]]:
        """Draw one example: every seventh is span corruption, the rest a skill."""
        if self.rng.random() < 0.15:
            return self._corrupted()
        text, prefix, answer = self.instructed()
        return [*prefix, *self._encode(text), 1], [self.ids[answer], 1]

    def _encode(self, text: str) -> list[int]:
        return [self.ids[word] for word in world.words_of(text)]

    def instructed(self) -> tuple[str, list[int], str]:
        """Draw a skill's text, an instruction prefix and the answer under it.

        Texts of the demo's tasks are left out.
        """
        while True:
            drawn = self._any_instructed()
            if drawn[0] not in self.left_out:
                return drawn

    def _any_instructed(self) -> tuple[str, list[int], str]:
        rng = self.rng
        easy = rng.random() < self.ease
        skill = rng.choice(("mood", "mood", "giver", "count"))
        if skill == "mood":
            sentence = world.verdict(rng, rng.choice(self.domains), easy)
        elif skill == "giver":
            sentence = world.deal(rng, rng.choice(self.deals))
        else:
            sentence = world.heap(rng)
        lead = rng.choice(LEADS)
        text = f"{lead} {sentence.text}" if lead else sentence.text
        fact = sentence.fact
        if sentence.asides and rng.random() < ASIDES:
            skill, fact = rng.choice(sorted(sentence.asides.items()))
        plain, inverted = CUES[skill]
        if isinstance(fact, str):
            return text, self._prefix([rng.choice(plain)], easy), fact
        turned = not easy and rng.random() < 0.5
        pair = rng.choice(ANSWER_WORDS)
        cue = rng.choice(inverted if turned else plain)
        return text, self._prefix([cue, *pair], easy), pair[fact != turned]

    def _prefix(self, words: list[str], easy: bool = False) -> list[int]:
        """Put the instruction's words among random others, 12 tokens at most, any order."""
        ids = [self.ids[word] for word in words]
        most = 2 if easy else 12 - len(ids)
        ids += self.rng.choices(self.fillers, k=self.rng.randrange(0, most + 1))
        self.rng.shuffle(ids)
        return ids

    def _corrupted(self) -> tuple[list[int], list[int]]:
        """Draw a sentence with one or two spans replaced by sentinels, and what they hid."""
        ids = self._encode(world.tale(self.rng))
        spans = self.rng.choice((1, 2)) if len(ids) > 8 else 1
        width = self.rng.choice((1, 2, 3))
        starts = sorted(self.rng.sample(range(0, len(ids) - width, width + 1), spans))
        source: list[int] = []
        target: list[int] = []
        at = 0
        for mark, start in enumerate(starts, start=3):
            source += [*ids[at:start], mark]
            target += [mark, *ids[start : start + width]]
            at = start + width
        return [*source, *ids[at:], 1], [*target, 1]

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches (inputs padded with 0, answers padded with -100), endlessly."""
        while True:
            examples = [self.example() for _ in range(CHUNK * BATCH)]
            examples.sort(key=lambda example: len(example[0]))
            parts = [examples[i : i + BATCH] for i in range(0, len(examples), BATCH)]
            self.rng.shuffle(parts)
            for part in parts:
                yield (
                    _padded([s for s, _ in part], 0),
                    _padded([t for _, t in part], -100),
                )


def _padded(sequences: list[list[int]], fill: int) -> Tensor:
    array = np.full((len(sequences), max(map(len, sequences))), fill, dtype=np.int64)
    for row, ids in zip(array, sequences, strict=True):
        row[: len(ids)] = ids
    return torch.from_numpy(array)


def pretrain(
    model: T5ForConditionalGeneration,
    stream: Stream,
    report: Report,
    steps: int = STEPS,
) -> None:
    """Train every weight on the stream: AdamW, warm-up, a linear fall in the last third."""
    places = [p for name, p in model.named_parameters() if "relative_attention" in name]
    others = [p for name, p in model.named_parameters() if "relative_attention" not in name]
    groups: list[dict[str, Any]] = [
        {"params": others},
        {"params": places, "lr": POSITION_RATE * LEARNING_RATE},
    ]
    optimiser = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda s: min((s + 1) / 100, 1.0, max(0.02, (1 - s / steps) / 0.35))
    )
    model.train()
    for step, (ids, answers) in enumerate(stream.batches()):
        if step == steps:
            break
        stream.ease = max(0.1, 1 - step / (0.3 * steps))
        loss = model(input_ids=ids, attention_mask=(ids != 0).long(), labels=answers).loss
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 50 == 0:
            report(f"pre-training, loss {loss.item():.3f}", step / steps)
    model.eval()


def build(folder: Path, progress: Report | None = None) -> None:
    """Make tokenizer and model and write them to `folder` as `from_pretrained` reads them."""
    report = progress or (lambda message, share: None)
    tokenizer = make_tokenizer()
    model = make_model(len(tokenizer))
    pretrain(model, Stream(tokenizer), report)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def build_demo(folder: Path, report: Report) -> None:
    """Make the whole embedded default under `folder`: tasks, truth, experiment, backbone."""
    report("tasks", 0.0)
    demo.write_tasks(folder)
    build(folder / "backbone", report)
    report("done", 1.0)
