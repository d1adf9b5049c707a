"""Label words as token ids and as a trie: what constrained answers and label scoring need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from dtvg.errors import ConfigError


@dataclass(frozen=True)
class LabelSet:
    """A task's label words under one tokenizer; node 0 of the trie is its root.

    Tables are indexed by node and by place in `tokens`, the ascending ids that occur in labels.
    """

    words: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]
    """Token ids of each word with its end mark."""
    tokens: Int[Tensor, " u"]
    allowed: Bool[Tensor, "nodes u"]
    child: Int[Tensor, "nodes u"]
    """Next node; 0 where there is none."""
    path: Int[Tensor, "L k"]
    """Node before each token of each label; 0 beyond its end."""
    place: Int[Tensor, "L k"]
    """Place in `tokens` of each token of each label."""
    inside: Bool[Tensor, "L k"]
    """Whether a label has that many tokens."""
    choices: int
    """Tokens after which no label has a choice any more: what must be read to tell them apart."""

    @property
    def preference(self) -> list[int]:
        """Labels in the order in which ties are won: by token ids, as an argmax would."""
        return sorted(range(len(self.words)), key=lambda i: self.ids[i])

    def read(self, answers: Int[Tensor, "b k"]) -> list[str]:
        """Return the words that answers along the trie spell, exactly as they were given."""
        words = dict(zip(self.ids, self.words, strict=True))
        texts = []
        for row in answers.tolist():
            whole = next((n for n in range(1, len(row) + 1) if tuple(row[:n]) in words), 0)
            texts.append(words.get(tuple(row[:whole]), ""))
        return texts

    @classmethod
    def of(
        cls,
        words: Sequence[str],
        ids: Sequence[Sequence[int]],
        device: torch.device,
        name: str,
        lost: bool = False,
    ) -> LabelSet:
        """Build the trie.

        Args:
            words: label words.
            ids: their tokens, end marks included.
            device: where the tables live.
            name: the backbone's, for messages.
            lost: whether the backbone cannot write a word, for messages.

        Raises:
            ConfigError: two words become the same tokens.
        """
        rows = [tuple(int(i) for i in row) for row in ids]
        _refuse_equal(words, rows, name, lost)
        tokens = sorted({token for row in rows for token in row})
        where = {token: i for i, token in enumerate(tokens)}
        children: list[dict[int, int]] = [{}]
        paths: list[list[int]] = []
        for row in rows:
            node, path = 0, []
            for token in row:
                path.append(node)
                if where[token] not in children[node]:
                    children.append({})
                    children[node][where[token]] = len(children) - 1
                node = children[node][where[token]]
            paths.append(path)
        depth = max(map(len, rows))
        child = torch.zeros((len(children), len(tokens)), dtype=torch.long)
        for number, links in enumerate(children):
            for place, to in links.items():
                child[number, place] = to
        choices = max(
            (j + 1 for path in paths for j, node in enumerate(path) if len(children[node]) > 1),
            default=1,
        )
        pad = [[*row, *[0] * (depth - len(row))] for row in paths]
        places = [[*(where[t] for t in row), *[0] * (depth - len(row))] for row in rows]
        inside = [[j < len(row) for j in range(depth)] for row in rows]
        return cls(
            tuple(words),
            tuple(rows),
            torch.tensor(tokens, device=device),
            (child > 0).to(device),
            child.to(device),
            torch.tensor(pad, device=device),
            torch.tensor(places, device=device),
            torch.tensor(inside, device=device),
            choices,
        )


def _refuse_equal(
    words: Sequence[str], rows: Sequence[tuple[int, ...]], name: str, lost: bool
) -> None:
    """Refuse two words that become the same tokens."""
    for i, row in enumerate(rows):
        if row in rows[:i]:
            what = f"Label words '{words[rows.index(row)]}' and '{words[i]}' have the same tokens"
            if lost:
                raise ConfigError(
                    f"{what} with backbone '{name}', which cannot write them; choose other label "
                    "words."
                )
            raise ConfigError(
                f"{what} with backbone '{name}'; choose other label words or evaluation.mode "
                "generate."
            )
