"""Metrics of generated text: ROUGE, BLEU, chrF and METEOR without WordNet, all 0..1, offline.

By the kept libraries rouge-score, sacrebleu and nltk, imported when first used. Several
references of an example: ROUGE and METEOR take the best, BLEU and chrF all of them.
Must not import torch. METHOD.md "Metrics".
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
import numpy.typing as npt

from dtvg.extras import require
from dtvg.tasks.spec import Example, TaskSpec

Floats = npt.NDArray[np.float64]
Corpus = Callable[[Floats], Floats]
"""(sums of statistics `[B c]`) → score of each sum `[B]`, 0..1."""
ROUGE = ("rouge1", "rouge2", "rougeL")
METRICS = frozenset({*ROUGE, "bleu", "chrf", "meteor_stem"})
"""Those of this module, by their names in `TaskSpec.metrics`."""
_WORDS = re.compile(r"\w+|[^\w\s]")


def check_packages(spec: TaskSpec) -> None:
    """Refuse a task that could be trained but not scored here.

    Raises:
        ConfigError: it is scored by a metric whose package is not installed.
    """
    if not METRICS.isdisjoint(spec.metrics):
        require("nlg", f"Scoring task '{spec.name}'")


@functools.lru_cache(maxsize=8)
def _rouge(kind: str) -> Any:
    require("nlg", "The metric ROUGE")
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer([kind], use_stemmer=True)


def rouge_values(kind: str, predictions: Sequence[str], examples: Sequence[Example]) -> list[float]:
    """Return each text's best F over its references: `rouge1`, `rouge2` or `rougeL`, stemmed."""
    scorer = _rouge(kind)
    return [
        max(scorer.score(reference, p)[kind].fmeasure for reference in e.references)
        for p, e in zip(predictions, examples, strict=True)
    ]


class _NoSynonyms:
    """Stands for WordNet where none is: no word has a synonym."""

    def synsets(self, word: str) -> list[Any]:
        """Return nothing."""
        return []


def meteor_values(predictions: Sequence[str], examples: Sequence[Example]) -> list[float]:
    """Return each text's best METEOR over its references, matching words and stems only.

    Lower case, split into words and punctuation; α = 0.9, β = 3, γ = 0.5 as nltk has them.
    """
    require("nlg", "The metric METEOR")
    from nltk.translate.meteor_score import meteor_score

    def words(text: str) -> list[str]:
        return _WORDS.findall(text.lower())

    return [
        float(meteor_score([words(r) for r in e.references], words(p), wordnet=_NoSynonyms()))
        for p, e in zip(predictions, examples, strict=True)
    ]


def rouge1(predictions: Sequence[str], examples: Sequence[Example], spec: TaskSpec) -> float:
    """Mean ROUGE-1 F over texts, the best reference of each."""
    return float(np.mean(rouge_values("rouge1", predictions, examples)))


def rouge2(predictions: Sequence[str], examples: Sequence[Example], spec: TaskSpec) -> float:
    """Mean ROUGE-2 F over texts, the best reference of each."""
    return float(np.mean(rouge_values("rouge2", predictions, examples)))


def rouge_l(predictions: Sequence[str], examples: Sequence[Example], spec: TaskSpec) -> float:
    """Mean ROUGE-L F over texts, the best reference of each."""
    return float(np.mean(rouge_values("rougeL", predictions, examples)))


def meteor_stem(predictions: Sequence[str], examples: Sequence[Example], spec: TaskSpec) -> float:
    """Mean METEOR over texts without WordNet: exact and stem matches only."""
    return float(np.mean(meteor_values(predictions, examples)))


@functools.lru_cache(maxsize=2)
def _corpus_metric(kind: str) -> Any:
    require("nlg", f"The metric {'BLEU' if kind == 'bleu' else 'chrF'}")
    from sacrebleu.metrics import BLEU, CHRF

    return BLEU() if kind == "bleu" else CHRF()


def _streams(examples: Sequence[Example]) -> list[list[str | None]]:
    """Turn references by example into sacrebleu's streams, missing ones None."""
    return [list(stream) for stream in zip_longest(*(e.references for e in examples))]


def _corpus(kind: str, predictions: Sequence[str], examples: Sequence[Example]) -> float:
    made = _corpus_metric(kind).corpus_score(list(predictions), _streams(examples))
    return float(min(1.0, made.score / 100))


def bleu(predictions: Sequence[str], examples: Sequence[Example], spec: TaskSpec) -> float:
    """Corpus BLEU-4 of sacrebleu (tokeniser 13a, exponential smoothing), all references."""
    return _corpus("bleu", predictions, examples)


def chrf(predictions: Sequence[str], examples: Sequence[Example], spec: TaskSpec) -> float:
    """Corpus chrF2 of sacrebleu (characters, order 6), all references."""
    return _corpus("chrf", predictions, examples)


def corpus_statistics(
    kind: str, predictions: Sequence[str], examples: Sequence[Example]
) -> tuple[Floats, Corpus]:
    """Return what `bleu` or `chrf` sums over examples, and the score of such sums.

    A resample of the corpus is then one sum, not a new count of n-grams; it is how sacrebleu
    itself makes intervals.

    Returns:
        Statistics `[E c]`, and their score.
    """
    metric = _corpus_metric(kind)
    found = metric._extract_corpus_statistics(list(predictions), _streams(examples))

    def score(sums: Floats) -> Floats:
        made = [metric._compute_score_from_stats(row) for row in np.rint(sums).astype(int).tolist()]
        return np.array([min(1.0, one.score / 100) for one in made])

    return np.array(found, dtype=np.float64), score
