"""The small world the demo is about: words, sentences, and what is true of each sentence.

Every maker draws one text together with the latent fact a skill must find (is the verdict
kind? do two statements agree? who acted? how many things?). The demo's tasks and the demo
backbone's pre-training text both come from here. Must not import torch, pandas or config.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

PEOPLE = tuple(
    "mia tom anna ben clara dan ella finn greta hugo ida jack kate leo nora otto".split()
)
THINGS = tuple(
    "ball cup hat box lamp book key drum kite spoon bell rope coat chair pen clock".split()
)
ANIMALS = tuple("cat dog hen horse goat duck fox owl cow pig crow hare".split())
PLACES = tuple(
    "park kitchen garden barn school shop station tower harbour library forest market".split()
)
COLOURS = tuple("red blue green yellow black white brown pink grey purple".split())
NUMBERS = ("two", "three", "four", "five", "six")
KIND_WORDS = tuple(
    "lovely clever warm fresh fine charming calm bright funny splendid pleasant superb".split()
)
HARSH_WORDS = tuple(
    "dull rude cold stale poor dreary noisy gloomy boring awful nasty dreadful".split()
)
ASPECTS = {
    "film": ("film", "story", "hero", "ending", "music"),
    "meal": ("soup", "bread", "cook", "cake", "tea"),
    "stay": ("room", "bed", "host", "bath", "inn"),
    "trip": ("train", "driver", "road", "view", "boat"),
    "party": ("party", "dance", "guest", "band", "game"),
}
"""What is judged, by domain."""

PASSIVES = {"gave": "given", "sold": "sold", "showed": "shown", "threw": "thrown"}
ITEM_DOMAINS = ("colour", "place", "owner", "pet")
"""What two statements may agree or disagree about."""

_ITEMS = {
    "colour": (THINGS, COLOURS),
    "place": (ANIMALS, PLACES),
    "owner": (THINGS, PEOPLE),
    "pet": (ANIMALS, NUMBERS),
}
_FACTS = {
    "colour": ("the {item} is {value}", "{person} has a {value} {item}"),
    "place": ("the {item} is in the {value}", "{person} saw the {item} in the {value}"),
    "owner": ("the {item} is from {value}", "{value} made the {item}"),
    "pet": ("the {item} has {value} young", "{person} saw the {item} with {value} young"),
}
_CLAIMS = {
    "colour": ("the {item} is {value}", "it is a {value} {item}"),
    "place": ("the {item} is in the {value}", "it is in the {value}"),
    "owner": ("the {item} is from {value}", "it is from {value}"),
    "pet": ("the {item} has {value} young", "it has {value} young"),
}
_DENIALS = {
    "colour": ("the {item} is not {value}", "it is not a {value} {item}"),
    "place": ("the {item} is not in the {value}", "it is not in the {value}"),
    "owner": ("the {item} is not from {value}", "it is not from {value}"),
    "pet": ("the {item} does not have {value} young", "it does not have {value} young"),
}


@dataclass(frozen=True)
class Sentence:
    """A text and what is true of it: a truth value for judging skills, else a word."""

    text: str
    fact: bool | str


def words_of(text: str) -> list[str]:
    """Split a text into words and punctuation marks, as the demo tokenizer does."""
    return re.findall(r"[a-z0-9]+|[^\sa-z0-9]", text)


def verdict(rng: Random, domain: str, easy: bool = False) -> Sentence:
    """Draw a verdict about a film, meal, ...; the fact is whether it is kind.

    Not or never turns a word round; after `but` only the second half counts. An easy
    verdict has neither (only pre-training draws them).
    """
    aspects = ASPECTS[domain]
    kind = rng.random() < 0.5
    form = rng.randrange(2 if easy else 4)
    if form == 0:
        return Sentence(f"{_judgement(rng, rng.choice(aspects), kind, easy)}.", kind)
    if form == 1:
        word, negated = _mood_word(rng, kind, easy)
        person, aspect = rng.choice(PEOPLE), rng.choice(aspects)
        verb = "did not find" if negated else "found"
        return Sentence(f"{person} {verb} the {aspect} {word}.", kind)
    first, second = rng.sample(aspects, 2)
    joint, before = ("but", not kind) if form == 2 else ("and", kind)
    text = f"{_judgement(rng, first, before)} {joint} {_judgement(rng, second, kind)}."
    return Sentence(text, kind)


def _judgement(rng: Random, aspect: str, kind: bool, easy: bool = False) -> str:
    word, negated = _mood_word(rng, kind, easy)
    negation = rng.choice((" not", " never")) if negated else ""
    return f"the {aspect} was{negation} {word}"


def _mood_word(rng: Random, kind: bool, easy: bool) -> tuple[str, bool]:
    """Draw a word and whether it must be negated to mean `kind`; every third is."""
    negated = not easy and rng.random() < 1 / 3
    return rng.choice(KIND_WORDS if kind != negated else HARSH_WORDS), negated


def statements(rng: Random, domain: str, easy: bool = False) -> Sentence:
    """Draw a fact and a claim about the same item; the fact is whether the claim holds.

    The claim names the same value or another one, and every third is negated (an easy one
    never is; only pre-training draws them).
    """
    items, values = _ITEMS[domain]
    item = rng.choice(items)
    told, other = rng.sample(values, 2)
    holds, negated = rng.random() < 0.5, not easy and rng.random() < 1 / 3
    said = told if holds != negated else other
    fact = rng.choice(_FACTS[domain]).format(item=item, value=told, person=rng.choice(PEOPLE))
    claim = rng.choice(_DENIALS[domain] if negated else _CLAIMS[domain])
    return Sentence(f"first: {fact}. second: {claim.format(item=item, value=said)}.", holds)


def deed(rng: Random) -> Sentence:
    """Draw a deed told actively or passively; the fact is who did it."""
    doer, other = rng.sample(PEOPLE, 2)
    thing, place = rng.choice(THINGS), rng.choice(PLACES)
    verb = rng.choice(tuple(PASSIVES))
    where = f" in the {place}" if rng.random() < 0.5 else ""
    if rng.random() < 0.5:
        return Sentence(f"{doer} {verb} the {thing} to {other}{where}.", doer)
    text = f"the {thing} was {PASSIVES[verb]} to {other} by {doer}{where}."
    return Sentence(text, doer)


def heap(rng: Random) -> Sentence:
    """Draw a list of things somewhere; the fact is how many there are, as a word."""
    number = rng.randrange(2, 7)
    things = [f"a {thing}" for thing in rng.sample(THINGS, number)]
    text = f"in the {rng.choice(PLACES)}: {', '.join(things[:-1])} and {things[-1]}."
    return Sentence(text, NUMBERS[number - 2])


def tale(rng: Random) -> str:
    """Draw any sentence of the world, with every domain, for span corruption."""
    kind = rng.randrange(4)
    if kind == 0:
        return verdict(rng, rng.choice(tuple(ASPECTS))).text
    if kind == 1:
        return statements(rng, rng.choice(ITEM_DOMAINS)).text
    return (deed(rng) if kind == 2 else heap(rng)).text
