"""Killed at a random moment, and a file damaged after that: the same history, or a sentence.

`python -m tests.training.test_double_faults SEED KILLS` counts what came of so many.
"""

from __future__ import annotations

import collections
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import pytest

from dtvg.errors import DtvgError
from dtvg.records import RunState
from dtvg.store.bank import PromptBank
from dtvg.store.layout import ExperimentDir
from dtvg.store.reader import open_run
from dtvg.store.verify import verify_run
from dtvg.testing.tiny_run import tiny_config
from tests.store.damage import WHOLE, content, forked, in_bank, train

pytestmark = pytest.mark.timeout(1800)
ENDINGS = (".json", ".yaml", ".parquet", ".safetensors")


class Lives:
    """An experiment's whole life, unbroken once, then again and again with a double fault."""

    def __init__(self, root: Path) -> None:
        self.root, self.parts = root, root / "parts"
        tiny_config(self.parts)
        started = time.monotonic()
        assert forked(lambda: train(root / "whole", self.parts)) == 0
        self.seconds = time.monotonic() - started
        self.wanted = content(root / "whole", WHOLE)
        self.bank = in_bank(root / "whole")

    def one(self, rng: random.Random, number: int) -> str:
        """Kill, damage, go on; return in a word what came of it.

        Raises:
            AssertionError: a traceback, or another history without a word.
        """
        home = self.root / f"life-{number}"
        for _ in range(rng.choice([1, 1, 2])):
            self._kill(home, rng.random() * self.seconds)
        what = _damage(home, rng)
        finished = _is_of_finished(home, what)
        note = home / "note"

        def go_on() -> None:
            try:
                train(home, self.parts)
                note.write_text("went on")
            except DtvgError as error:
                note.write_text(f"refused: {error}")

        home.mkdir(exist_ok=True)
        assert forked(go_on) == 0, f"a traceback after {what}"
        said = note.read_text()
        if said != "went on":
            assert len(said) > 30 and "\n" not in said, said
            return "refused"
        runs = ExperimentDir(home / "runs" / WHOLE).runs()
        problems = [problem for run in runs for problem in verify_run(run.path)]
        problems += [p for p in PromptBank(home / "prompts").check().values() if p]
        broken: set[str] = set()
        found = content(home, WHOLE, broken)
        differs = {place for place in self.wanted if found.get(place) != self.wanted[place]}
        if not differs and in_bank(home) == self.bank:
            return "equal" if not problems else "equal, and verify says what is missing"
        if _refused_by_name(home, what):
            assert {place.split("/")[0] for place in differs} == {Path(what).parts[2]}, what
            return "its run is refused, the damaged file named"
        assert problems, f"another history, and verify says nothing, after {what}"
        assert differs <= _place(what), f"{differs} came of {what}"
        assert finished or not differs, f"{differs} of a run that went on, after {what}"
        return "a file of a finished run is damaged, verify says so, nothing came of it"

    def _kill(self, home: Path, seconds: float) -> None:
        child = os.fork()
        if child == 0:
            try:
                train(home, self.parts)
            finally:
                os._exit(0)
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _is_of_finished(home: Path, what: str) -> bool:
    """Whether a damaged file belongs to a run that had finished, or to none."""
    path = home / what.partition(": ")[0]
    run = next((p for p in path.parents if p.parent.name == WHOLE), None)
    return run is None or path.name == "result.json" or (run / "result.json").exists()


def _refused_by_name(home: Path, what: str) -> bool:
    """Whether the run of a damaged file failed with a sentence that names the file."""
    path = home / what.partition(": ")[0]
    run = next((p for p in path.parents if p.parent.name == WHOLE), None)
    if run is None or not (run / "status.json").exists():
        return False
    seen = open_run(run)
    return seen.state is RunState.FAILED and str(path) in seen.message


def _place(what: str) -> set[str]:
    """Return what a damaged file itself holds of a run, as `content` names it."""
    path = Path(what.partition(": ")[0])
    if "runs" not in path.parts or len(path.parts) < 4:
        return set()
    run, inner = path.parts[2], path.parts[3:]
    if inner[0] == "prompts":
        return {f"{run}/{path.stem}"}
    named = {"result.json": "result", "config.yaml": "settings"}
    return {f"{run}/{named.get(inner[0], inner[0])}"}


def _damage(home: Path, rng: random.Random) -> str:
    files = sorted(p for p in home.rglob("*") if p.suffix in ENDINGS and p.is_file())
    if not files:
        return "nothing"
    kind = rng.choice([ending for ending in ENDINGS if any(p.suffix == ending for p in files)])
    path = rng.choice([p for p in files if p.suffix == kind])
    old = path.read_bytes()
    how = rng.choice(["bit", "bit", "cut", "empty", "gone"])
    if how == "gone":
        path.unlink()
    elif how == "bit" and old:
        new, place = bytearray(old), rng.randrange(len(old))
        new[place] ^= 1 << rng.randrange(8)
        path.write_bytes(new)
    else:
        path.write_bytes(old[: len(old) // 2] if how == "cut" else b"")
    return f"{path.relative_to(home)}: {how}"


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Lives:
    return Lives(tmp_path_factory.mktemp("lives"))


def test_killed_and_damaged_it_ends_as_if_unbroken_or_says_why_not(lives: Lives) -> None:
    rng = random.Random(0)
    assert {lives.one(rng, number) for number in range(4)}


@pytest.mark.slow
def test_sixty_kills_with_double_faults(lives: Lives) -> None:
    rng = random.Random(1)
    seen = collections.Counter(lives.one(rng, number) for number in range(100, 160))
    assert seen["equal"] > 5  # the rest is refused, or told by verify


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        made, generator = Lives(Path(place)), random.Random(int(sys.argv[1]))
        found: collections.Counter[str] = collections.Counter()
        for trial in range(int(sys.argv[2])):
            try:
                found[made.one(generator, trial)] += 1
            except AssertionError as error:
                found["BROKEN"] += 1
                print("BROKEN", error, flush=True)
            print(trial + 1, dict(found), flush=True)
