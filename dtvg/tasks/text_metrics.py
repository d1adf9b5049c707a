"""Metrics of generated text: ROUGE, BLEU, chrF, METEOR without WordNet, and CIDEr, offline.

By the kept libraries rouge-score, sacrebleu and nltk, imported when first used. Several
references of an example: ROUGE and METEOR take the best, BLEU and chrF all of them, CIDEr
their mean. All compare texts in their normal form. docs/tasks.md "Metrics".
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from dtvg.extras import require
from dtvg.tasks.scoring import Answers, Floats, Scorer, columns, normal

_WORDS = re.compile(r"\w+|[^\w\s]")


def _words(text: str) -> list[str]:
    """Split a text into words and punctuation marks, in lower case."""
    return _WORDS.findall(text.lower())


def _pairs(answers: Answers) -> Iterator[tuple[str, list[str]]]:
    """Yield each answer with its references, all in their normal form."""
    for p, e in zip(answers.prediction, answers.examples or (), strict=True):
        yield normal(p), [normal(reference) for reference in e.references]


@functools.lru_cache(maxsize=8)
def _rouge(kind: str) -> Any:
    require("nlg", "The metric ROUGE")
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer([kind], use_stemmer=True)


def rouge_values(kind: str, answers: Answers) -> list[float] | None:
    """Return each text's best F over its references: `rouge1`, `rouge2` or `rougeL`, stemmed."""
    if answers.examples is None:
        return None
    scorer = _rouge(kind)
    return [
        max(scorer.score(reference, p)[kind].fmeasure for reference in references)
        for p, references in _pairs(answers)
    ]


class _NoSynonyms:
    """Stands for WordNet where none is: no word has a synonym."""

    def synsets(self, word: str) -> list[Any]:
        """Return nothing."""
        return []


def meteor_values(answers: Answers) -> list[float] | None:
    """Return each text's best METEOR over its references, matching words and stems only.

    Lower case, split into words and punctuation; α = 0.9, β = 3, γ = 0.5 as nltk has them.
    """
    require("nlg", "The metric METEOR")
    from nltk.translate.meteor_score import meteor_score

    if answers.examples is None:
        return None
    return [
        float(meteor_score([_words(r) for r in references], _words(p), wordnet=_NoSynonyms()))
        for p, references in _pairs(answers)
    ]


def mean_of(values: list[float]) -> float:
    """Return the mean of values as NumPy takes it, pairwise."""
    return float(np.mean(values))


@functools.lru_cache(maxsize=3)
def _corpus_metric(kind: str) -> Any:
    require("nlg", f"The metric {'chrF' if kind == 'chrf' else 'BLEU'}")
    from sacrebleu.metrics import BLEU, CHRF

    return CHRF() if kind == "chrf" else BLEU(lowercase=kind == "bleu_lower")


def _streams(answers: Answers) -> tuple[list[str], list[list[str | None]]]:
    """Return answers, and references as sacrebleu's streams, missing ones None."""
    pairs = list(_pairs(answers))
    streams = zip_longest(*(references for _, references in pairs))
    return [p for p, _ in pairs], [list(stream) for stream in streams]


def corpus_score(kind: str, answers: Answers) -> float:
    """Return BLEU-4 (tokeniser 13a, exponential smoothing) or chrF2 (characters, order 6).

    `bleu` minds the case, `bleu_lower` does not.
    """
    made = _corpus_metric(kind).corpus_score(*_streams(answers))
    return float(min(1.0, made.score / 100))


def corpus_scorer(kind: str, answers: Answers) -> Scorer | None:
    """Return `bleu`, `bleu_lower` or `chrf` under weights: from what sacrebleu sums over examples.

    A resample of the corpus is then one sum, not a new count of n-grams; it is how sacrebleu
    itself makes intervals.
    """
    if answers.examples is None:
        return None
    metric = _corpus_metric(kind)
    found = metric._extract_corpus_statistics(*_streams(answers))

    def finish(sums: Floats, weights: Floats) -> Floats:
        counts = np.rint(sums[:, 1:]).astype(int).tolist()
        made = [metric._compute_score_from_stats(row) for row in counts]
        return np.array([min(1.0, one.score / 100) for one in made])

    return Scorer(columns(np.array(found, dtype=np.float64)), finish)


CIDER_ORDER, CIDER_SIGMA, CIDER_SCALE = 4, 6.0, 10.0
"""Longest n-gram, width of the length penalty, and the factor of the published scripts."""
Vector = dict[tuple[str, ...], float]


def cider_values(answers: Answers) -> list[float] | None:
    """Return each text's CIDEr-D over its references, 0..10 (Vedantam et al. 2015, section 5).

    n-grams of 1 to 4 words weigh their count times log(N / df): N inputs, of which df have the
    n-gram in a reference. For each order, CIDEr-D is the cosine of text and reference with the
    text's weights clipped to the reference's, times exp(−(difference of lengths)² / 2σ²); the
    means over references and orders, times 10. What the scripts of COCO and E2E call CIDEr.
    Inputs with the same references count once, so that a resample keeps df and N.
    """
    if answers.examples is None:
        return None
    pairs = [(_words(p), [_words(r) for r in references]) for p, references in _pairs(answers)]
    inputs = {e.references: held for e, (_, held) in zip(answers.examples, pairs, strict=True)}
    held_by: Counter[tuple[str, ...]] = Counter()
    for references in inputs.values():
        held_by.update({gram for words in references for gram in _grams(words)})
    most = math.log(len(inputs)) if inputs else 0.0

    def vectors(words: list[str]) -> list[Vector]:
        """Return the weighted n-grams of a text, one vector an order."""
        found: list[Vector] = [{} for _ in range(CIDER_ORDER)]
        for gram, count in _grams(words).items():
            found[len(gram) - 1][gram] = count * (most - math.log(max(1, held_by[gram])))
        return found

    values = []
    for words, references in pairs:
        own = vectors(words)
        total = 0.0
        for reference in references:
            gap = len(words) - len(reference)
            penalty = math.exp(-(gap**2) / (2 * CIDER_SIGMA**2))
            alike = map(_clipped_cosine, own, vectors(reference))
            total += penalty * sum(alike) / CIDER_ORDER
        values.append(CIDER_SCALE * total / len(references))
    return values


def _grams(words: Sequence[str]) -> Counter[tuple[str, ...]]:
    """Count the n-grams of a text, all orders together."""
    return Counter(
        tuple(words[i : i + n])
        for n in range(1, CIDER_ORDER + 1)
        for i in range(len(words) - n + 1)
    )


def _clipped_cosine(text: Vector, reference: Vector) -> float:
    """Return the cosine of two vectors, the first clipped to the second; 0 where one is zero."""
    size = math.hypot(*text.values()) * math.hypot(*reference.values())
    shared = sum(min(w, reference[gram]) * reference[gram] for gram, w in text.items()
                 if gram in reference)  # fmt: skip
    return shared / size if size else 0.0
