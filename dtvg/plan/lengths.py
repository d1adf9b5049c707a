"""How long the rows of published tasks usually are, for estimates before anything is read.

Counted with T5's tokenizer on up to 2,000 training rows of each task as it is formatted here.
"""

from __future__ import annotations

TOKENS: dict[str, tuple[int, ...]] = {
    "mnli": (29, 39, 49, 59, 78),
    "qnli": (40, 50, 59, 68, 87),
    "qqp": (28, 32, 37, 44, 58),
    "sst2": (11, 14, 18, 25, 38),
    "mrpc": (47, 58, 66, 75, 85),
    "cola": (11, 13, 14, 16, 21),
    "rte": (44, 58, 70, 89, 156),
    "stsb": (27, 31, 35, 41, 64),
    "boolq": (81, 115, 147, 182, 255),
    "cb": (53, 70, 85, 104, 157),
    "wic": (25, 29, 31, 35, 41),
    "wsc": (25, 30, 34, 43, 70),
    "multirc": (217, 305, 426, 522, 596),
    "record": (264, 300, 318, 340, 394),
    "squad": (88, 129, 168, 209, 288),
    "nq": (70, 107, 139, 180, 253),
    "hotpotqa": (185, 230, 268, 313, 387),
    "searchqa": (1037, 1086, 1116, 1153, 1212),
    "winogrande": (35, 37, 39, 42, 47),
    "yelp": (46, 89, 140, 224, 409),
    "paws": (48, 60, 70, 81, 94),
    "e2e": (35, 42, 47, 53, 60),
    "common_gen": (11, 11, 12, 13, 15),
    "web_nlg": (25, 40, 59, 83, 118),
}
"""Task → tokens of an input: the length below which 10, 30, 50, 70 and 90 % of the rows stay."""
ANSWERS = {"squad": 5, "nq": 5, "hotpotqa": 6, "searchqa": 4, "e2e": 26, "common_gen": 15}
ANSWERS |= {"web_nlg": 31}
"""Task → mean tokens of an answer, where it is no class."""
USUAL, ANSWER = 60, 3
"""Of any other task: an input and an answer."""


def input_tokens(task: str, limit: int) -> float:
    """Return the mean tokens of a task's inputs when longer ones are cut.

    Args:
        task: its name.
        limit: `data.max_source_tokens`.
    """
    lengths = TOKENS.get(task, (USUAL,))
    return sum(min(length, limit) for length in lengths) / len(lengths)


def answer_tokens(task: str) -> int:
    """Return the mean tokens of a task's answers."""
    return ANSWERS.get(task, ANSWER)
