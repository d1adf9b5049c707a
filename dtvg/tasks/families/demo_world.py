"""The small world the demo is about: words, sentences, and what is true of each sentence.

Every maker draws one text together with the latent fact a skill must find (is the verdict
kind? who gave the thing away? how many things? where?). The demo's tasks and the demo
backbone's pre-training text both come from here. docs/demo.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from random import Random

PEOPLE = (
    "mia",
    "tom",
    "anna",
    "ben",
    "clara",
    "dan",
    "ella",
    "finn",
    "greta",
    "hugo",
    "ida",
    "jack",
    "kate",
    "leo",
    "nora",
    "otto",
)
THINGS = (
    "ball",
    "cup",
    "hat",
    "box",
    "lamp",
    "book",
    "key",
    "drum",
    "kite",
    "spoon",
    "bell",
    "rope",
    "coat",
    "chair",
    "pen",
    "clock",
)
PLACES = (
    "park",
    "kitchen",
    "garden",
    "barn",
    "school",
    "shop",
    "station",
    "tower",
    "harbour",
    "library",
    "forest",
    "market",
)
NUMBERS = ("two", "three", "four", "five", "six")
KIND_WORDS = (
    "lovely",
    "clever",
    "warm",
    "fresh",
    "fine",
    "charming",
    "calm",
    "bright",
    "funny",
    "splendid",
    "pleasant",
    "superb",
)
HARSH_WORDS = (
    "dull",
    "rude",
    "cold",
    "stale",
    "poor",
    "dreary",
    "noisy",
    "gloomy",
    "boring",
    "awful",
    "nasty",
    "dreadful",
)
ASPECTS = {
    "film": ("film", "story", "hero", "ending", "music"),
    "meal": ("soup", "bread", "cook", "cake", "tea"),
    "stay": ("room", "bed", "host", "bath", "inn"),
    "trip": ("train", "driver", "road", "view", "boat"),
    "party": ("party", "dance", "guest", "band", "game"),
}
"""What is judged, by domain."""

DEALS = {
    "gift": ("gave", "given", "got"),
    "sale": ("sold", "sold", "bought"),
    "loan": ("lent", "lent", "borrowed"),
    "throw": ("threw", "thrown", "caught"),
    "post": ("sent", "sent", "received"),
}
"""How a thing changes hands, by domain: the giver's verb, its participle, the taker's verb."""


@dataclass(frozen=True)
class Sentence:
    """A text and what is true of it: a truth value for judging skills, else a word."""

    text: str
    fact: bool | str
    asides: dict[str, bool | str] = field(default_factory=dict)
    """Other questions the same text answers, by skill; only pre-training asks them."""


def words_of(text: str) -> list[str]:
    """Split a text into words and punctuation marks, as the demo tokenizer does."""
    return re.findall(r"[a-z0-9]+|[^\sa-z0-9]", text)


def verdict(rng: Random, domain: str, easy: bool = False) -> Sentence:
    """Draw a verdict about a film, meal, ...; the fact is whether it is kind.

    Not or never turns a word round; after `but` only the second half counts. An easy
    verdict has neither (only pre-training draws them).
    """
    kind = rng.random() < 0.5
    first, second = rng.sample(ASPECTS[domain], 2)
    form = rng.randrange(2 if easy else 4)
    if form == 0:
        text = f"{_judgement(rng, first, kind, easy)}."
    elif form == 1:
        word, negated = _mood_word(rng, kind, easy)
        verb = "did not find" if negated else "found"
        text = f"{rng.choice(PEOPLE)} {verb} the {first} {word}."
    else:
        joint, before = ("but", not kind) if form == 2 else ("and", kind)
        text = f"{_judgement(rng, first, before)} {joint} {_judgement(rng, second, kind)}."
    return Sentence(text, kind, _judging_asides(text))


def _judging_asides(text: str) -> dict[str, bool | str]:
    words = words_of(text)
    return {
        "denied": "not" in words or "never" in words,
        "named": any(word in PEOPLE for word in words),
    }


def _judgement(rng: Random, aspect: str, kind: bool, easy: bool = False) -> str:
    word, negated = _mood_word(rng, kind, easy)
    negation = rng.choice((" not", " never")) if negated else ""
    return f"the {aspect} was{negation} {word}"


def _mood_word(rng: Random, kind: bool, easy: bool) -> tuple[str, bool]:
    """Draw a word and whether it must be negated to mean `kind`; every third is."""
    negated = not easy and rng.random() < 1 / 3
    return rng.choice(KIND_WORDS if kind != negated else HARSH_WORDS), negated


def deal(rng: Random, domain: str) -> Sentence:
    """Draw how a thing changed hands, told in one of three ways; the fact is who gave it."""
    giver, taker = rng.sample(PEOPLE, 2)
    thing = rng.choice(THINGS)
    where = f" in the {rng.choice(PLACES)}" if rng.random() < 0.5 else ""
    gave, given, took = DEALS[domain]
    text = rng.choice(
        (
            f"{giver} {gave} the {thing} to {taker}{where}.",
            f"the {thing} was {given} to {taker} by {giver}{where}.",
            f"{taker} {took} the {thing} from {giver}{where}.",
        )
    )
    return Sentence(text, giver, {"taker": taker, "object": thing})


def heap(rng: Random) -> Sentence:
    """Draw a list of things somewhere; the fact is how many there are, as a word."""
    number = rng.randrange(2, 7)
    place, names = rng.choice(PLACES), rng.sample(THINGS, number)
    things = [f"a {name}" for name in names]
    text = f"in the {place}: {', '.join(things[:-1])} and {things[-1]}."
    return Sentence(text, NUMBERS[number - 2], {"where": place, "last": names[-1]})


def tale(rng: Random) -> str:
    """Draw any sentence of the world, with every domain, for span corruption."""
    kind = rng.randrange(3)
    if kind == 0:
        return verdict(rng, rng.choice(tuple(ASPECTS))).text
    return (deal(rng, rng.choice(tuple(DEALS))) if kind == 1 else heap(rng)).text
