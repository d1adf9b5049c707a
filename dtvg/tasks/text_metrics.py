"""Metrics of generated text: ROUGE, BLEU, chrF and METEOR without WordNet, all 0..1, offline.

By the kept libraries rouge-score, sacrebleu and nltk, imported when first used. Several
references of an example: ROUGE and METEOR take the best, BLEU and chrF all of them.
docs/tasks.md "Metrics".
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from dtvg.extras import require
from dtvg.tasks.scoring import Answers, Floats, Scorer, columns
from dtvg.tasks.spec import Example

_WORDS = re.compile(r"\w+|[^\w\s]")


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
        max(scorer.score(reference, p)[kind].fmeasure for reference in e.references)
        for p, e in zip(answers.prediction, answers.examples, strict=True)
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

    def words(text: str) -> list[str]:
        return _WORDS.findall(text.lower())

    if answers.examples is None:
        return None
    return [
        float(meteor_score([words(r) for r in e.references], words(p), wordnet=_NoSynonyms()))
        for p, e in zip(answers.prediction, answers.examples, strict=True)
    ]


def mean_of(values: list[float]) -> float:
    """Return the mean of values as NumPy takes it, pairwise."""
    return float(np.mean(values))


@functools.lru_cache(maxsize=2)
def _corpus_metric(kind: str) -> Any:
    require("nlg", f"The metric {'BLEU' if kind == 'bleu' else 'chrF'}")
    from sacrebleu.metrics import BLEU, CHRF

    return BLEU() if kind == "bleu" else CHRF()


def _streams(examples: Sequence[Example]) -> list[list[str | None]]:
    """Turn references by example into sacrebleu's streams, missing ones None."""
    return [list(stream) for stream in zip_longest(*(e.references for e in examples))]


def corpus_score(kind: str, answers: Answers) -> float:
    """Return BLEU-4 (tokeniser 13a, exponential smoothing) or chrF2 (characters, order 6)."""
    streams = _streams(answers.examples or ())
    made = _corpus_metric(kind).corpus_score(list(answers.prediction), streams)
    return float(min(1.0, made.score / 100))


def corpus_scorer(kind: str, answers: Answers) -> Scorer | None:
    """Return `bleu` or `chrf` under weights: from what sacrebleu sums over examples.

    A resample of the corpus is then one sum, not a new count of n-grams; it is how sacrebleu
    itself makes intervals.
    """
    if answers.examples is None:
        return None
    metric = _corpus_metric(kind)
    streams = _streams(answers.examples)
    found = metric._extract_corpus_statistics(list(answers.prediction), streams)

    def finish(sums: Floats, weights: Floats) -> Floats:
        counts = np.rint(sums[:, 1:]).astype(int).tolist()
        made = [metric._compute_score_from_stats(row) for row in counts]
        return np.array([min(1.0, one.score / 100) for one in made])

    return Scorer(columns(np.array(found, dtype=np.float64)), finish)
