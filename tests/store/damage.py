"""Damaging the files of a home at random, each in a way of its kind, and asking every command.

`python -m tests.store.damage SEED COUNT` counts what comes of so many damaged inputs.
"""

from __future__ import annotations

import collections
import contextlib
import io
import json
import os
import random
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from dtvg.analysis.overview import table as overview
from dtvg.analysis.overview.fleet import fleet_info
from dtvg.analysis.overview.progress import progress
from dtvg.cli import main
from dtvg.config import build_config
from dtvg.config.people import people
from dtvg.errors import DtvgError, StoreError
from dtvg.mirrors import position
from dtvg.plan.stored import lay_out
from dtvg.records import TABLES
from dtvg.scale.driver import last_place, worker_facts
from dtvg.scale.ground import ended_words
from dtvg.store import audit, trash
from dtvg.store.bank import PromptBank
from dtvg.store.files import replace_json
from dtvg.store.labels import Labels, write_labels
from dtvg.store.layout import ExperimentDir, load_experiment
from dtvg.store.reader import Run, list_experiments, open_run, read_prompts, read_table
from dtvg.testing.tiny_run import tiny_config
from dtvg.training import procedures
from dtvg.training.engine import recorded
from tests.store import faults

SMALL: dict[str, Any] = {
    "sources": ["sst2"],
    "methods": ["dtvg"],
    "optim": {"stage1_steps": 4, "steps": 4, "batch_size": 2, "warmup_steps": 1},
    "evaluation": {"every": 2, "max_examples": 4, "keep_predictions": "all"},
    "logging": {"commit_seconds": 0.01, "commit_share": 1.0},
}
MEASURED = ["seconds", "step_ms", "device_mem_gib"]
NOTES = ["started", "resumed", "stopped", "fell_back"]
"""Events that tell of the process, not of the run."""
WHOLE, HALF = "tiny", "half"


def forked(action: Callable[[], object]) -> int:
    """Run something in a child that may die at any moment; return its exit status."""
    child = os.fork()
    if child == 0:
        try:
            action()
        except BaseException:  # noqa: BLE001 - the child must never come back
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def train(home: Path, parts: Path, name: str = WHOLE) -> None:
    """Create and train an experiment, or go on with it."""
    experiment = lay_out(build_config(tiny_config(parts, **{**SMALL, "name": name})), home / "runs")
    procedures.run_experiment(experiment, bank=PromptBank(home / "prompts"))


def train_killed(home: Path, parts: Path, at: int, note: Path | None = None) -> None:
    """Train until the given write, where the process dies."""
    seen = faults.at_call(at, lambda: os._exit(9))
    train(home, parts, HALF)
    if note is not None:
        note.write_text(str(seen["calls"]))


def content(home: Path, name: str, broken: set[str] | None = None) -> dict[str, object]:
    """Return everything of an experiment that means something, by place.

    Args:
        home: where it lies.
        name: the experiment's.
        broken: gets the places that cannot be read; None: then an error.
    """
    found: dict[str, object] = {}

    def add(place: str, read: Callable[[], object]) -> None:
        try:
            found[place] = read()
        except StoreError:
            if broken is None:
                raise
            broken.add(place)

    for directory in ExperimentDir(home / "runs" / name).runs():
        run = open_run(directory.path)
        for table in TABLES:
            add(f"{run.name}/{table}", partial(_rows, run, table))
        for which in ("initial", "best", "final"):
            add(f"{run.name}/{which}", partial(_tensors, run, which))
        result = None if run.result is None else {**run.result.__dict__, "seconds": 0}
        found[f"{run.name}/result"] = json.dumps(result, sort_keys=True)
        found[f"{run.name}/settings"] = None if run.config is None else run.config.to_yaml()
    return found


def _rows(run: Run, table: str) -> str:
    rows = read_table(run, table).to_pandas().drop(columns=MEASURED, errors="ignore")
    if table == "events":
        rows = rows[~rows["kind"].isin(NOTES)]
    return str(rows.to_json(orient="values", double_precision=15))


def _tensors(run: Run, which: str) -> object:
    if not (run.directory.prompts_dir / f"{which}.safetensors").exists():
        return None
    tensors = read_prompts(run, which).items()
    return {key: (value.dtype.str, value.shape, value.tobytes()) for key, value in tensors}


def in_bank(home: Path) -> list[tuple[str, ...]]:
    """Return what the bank's prompts say and hold."""
    listed = PromptBank(home / "prompts").list()
    return [(p.task, str(p.score), str(p.settings), str(p.prompt.tobytes())) for p in listed]


FOREIGN: list[Any] = [
    "x", "", "\ud800", "[bold]", "=1+1", -1, 0, 1e308, 10**30, True, None, [], [1], ["x"], {},
    {"a": {}}, [[["x"]]], "../../etc/passwd", "nan",
]  # fmt: skip
SCALARS = [
    "2024-02-30", "!!int x", "!!float x", "!!timestamp x", "[" * 2000 + "]" * 2000,
    "1" + "0" * 5000,    "[1, 2]", "{a: b}", "-1", ".nan", "", "x", "&a *a", "\x07",
]  # fmt: skip


def damage(rng: random.Random, path: Path, others: list[Path]) -> str:
    """Damage a file in a way of its kind; return what was done."""
    old = path.read_bytes()
    if rng.random() < 0.3 or not old:
        return _bytes(rng, path, old, others)
    if path.suffix == ".json" or path.parent.name == "control":
        return _json(rng, path, old)
    if path.suffix == ".yaml":
        return _yaml(rng, path, old)
    return _bytes(rng, path, old, others)


def _bytes(rng: random.Random, path: Path, old: bytes, others: list[Path]) -> str:
    kind = rng.choice(["cut", "bit", "bit", "bit", "zeros", "noise", "empty", "other", "nested"])
    new = bytearray(old)
    place = rng.randrange(max(1, len(old)))
    if kind == "cut":
        del new[place:]
    elif kind == "bit" and new:
        new[place] ^= 1 << rng.randrange(8)
    elif kind == "zeros":
        new[place : place + 40] = bytes(len(new[place : place + 40]))
    elif kind == "noise":
        new[place : place + 40] = rng.randbytes(len(new[place : place + 40]))
    elif kind == "other":
        same = [p for p in others if p.suffix == path.suffix and p != path]
        new = bytearray(rng.choice(same).read_bytes() if same else b"")
    elif kind == "nested":
        new = bytearray(b"[" * 100_000)
    else:
        new.clear()
    path.write_bytes(new)
    return f"{kind} at {place}"


def _json(rng: random.Random, path: Path, old: bytes) -> str:
    values = json.loads(old)
    at: Any = values
    place: list[Any] = []
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            break
        key = rng.choice(keys)
        place.append(key)
        if isinstance(at[key], dict | list) and at[key] and rng.random() < 0.7:
            at = at[key]
            continue
        if rng.random() < 0.15:
            del at[key]
            what = "removed"
        else:
            at[key] = rng.choice(FOREIGN)
            what = repr(at[key])[:30]
        path.write_text(json.dumps(values), encoding="utf-8")
        return f"{'.'.join(map(str, place))} {what}"
    path.write_text("[]", encoding="utf-8")
    return "a list"


def _yaml(rng: random.Random, path: Path, old: bytes) -> str:
    lines = old.decode().splitlines()
    place = rng.choice([i for i, line in enumerate(lines) if ":" in line] or [0])
    value = rng.choice(SCALARS)
    if rng.random() < 0.2:
        gone = lines.pop(place)
        value = f"without {gone.strip()[:30]}"
    else:
        lines[place] = f"{lines[place].partition(':')[0]}: {value}"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return f"line {place + 1}: {value[:30]}"


READING = [
    ["runs", "list", "--all"], ["runs", "show", WHOLE], ["runs", "show", f"{WHOLE}/rte.dtvg.s0"],
    ["runs", "compare", WHOLE], ["runs", "trash"], ["queue", "list"], ["tasks", "list"],
    ["tasks", "show", "mine"], ["prompts", "list"], ["prompts", "verify"],
    ["runs", "show", f"{HALF}/rte.dtvg.s0"], ["runs", "verify", HALF], ["fleet"],
    ["runs", "story", f"{WHOLE}/rte.dtvg.s0"], ["claims", WHOLE], ["runs", "stop", WHOLE],
]  # fmt: skip
TOKEN = "t1"


def _told_to_a_worker(whole: ExperimentDir) -> None:
    ended_words(whole.cohort("transfer-000"), TOKEN)
    worker_facts(whole, "transfer-000", TOKEN)


def _shown(whole: ExperimentDir) -> None:
    found = list_experiments(whole.path.parent)
    for row in overview.run_rows(found, everything=True):
        row.value("state"), row.value("note")
    for experiment in found:
        progress(experiment)
    fleet_info(whole.path.parent)


CALLS: dict[str, Callable[[ExperimentDir], object]] = {
    "where it trains": lambda whole: last_place(*load_experiment(whole.path)),
    "worker": _told_to_a_worker,
    "overview": _shown,
    "engine": lambda whole: recorded(whole, load_experiment(whole.path)[1].device),
    "people": lambda whole: (people(), list(audit.entries())),
    "asked": lambda whole: [audit.told(run) for run in whole.runs()],
    "mirror": lambda whole: [position.load(run, "tensorboard") for run in whole.runs()],
}
"""What pages, drivers and workers ask beside the commands."""
OF_CALL = {
    "scale.json": "where it trains", "job.json": "worker", "ended.json": "worker",
    "engine.json": "engine", "people.yaml": "people", "audit.jsonl": "people",
    "person.1": "asked", "tensorboard.json": "mirror",
}  # fmt: skip
"""What asks for a file that no command of the list asks for."""


KINDS = [".json", ".json", ".json", ".yaml", ".parquet", ".safetensors"]
"""Endings of the files that are damaged, by how often."""


def _kind(path: Path) -> str:
    """Return a file's ending; lines and requests count as JSON."""
    return ".json" if path.suffix == ".jsonl" or path.parent.name == "control" else path.suffix


def _format(path: Path) -> str:
    """Return what tells formats apart: the name, of a table's parts the table's."""
    return path.parent.name if path.name.startswith("part-") else path.name


def chosen(rng: random.Random, files: list[Path]) -> Path:
    """Return a file, each format of a kind as often as the others."""
    kinds = {_kind(path) for path in files}
    kind = rng.choice([one for one in KINDS if one in kinds])
    of_kind = [path for path in files if _kind(path) == kind]
    wanted = rng.choice(sorted({_format(path) for path in of_kind}))
    return rng.choice([path for path in of_kind if _format(path) == wanted])


@dataclass
class Tally:
    """What came of damaged inputs."""

    inputs: int = 0
    commands: int = 0
    seen: collections.Counter = field(default_factory=collections.Counter)
    tracebacks: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    """Wrong acceptances."""


def _said(error: BaseException) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(where.filename).name}:{where.lineno}"
    return f"{type(error).__name__} {str(error)[:80]} ({place})"


class Fuzz:
    """A home with everything in it, and what damaging its files brings."""

    def __init__(self, root: Path) -> None:
        """Make the home: a finished and a half-trained experiment, bank, queue, trash, task."""
        self.root, self.home, self.parts = root, root / "home", root / "parts"
        tiny_config(self.parts)
        assert forked(lambda: train(self.home, self.parts)) == 0
        note = root / "note"
        shutil.copytree(self.home / "prompts", root / "count" / "prompts")
        assert forked(lambda: train_killed(root / "count", self.parts, 10**9, note)) == 0
        at = int(note.read_text()) * 3 // 5
        assert forked(lambda: train_killed(self.home, self.parts, at)) == 9
        assert not all(
            r.result_path.exists() for r in ExperimentDir(self.home / "runs" / HALF).runs()
        )
        self._more()
        shutil.rmtree(root / "count")
        self.files = sorted(
            p
            for p in self.home.rglob("*")
            if _kind(p) in KINDS and p.is_file()
            and "cache" not in p.parts and "content" not in p.parts
        )  # fmt: skip
        self.wanted = content(self.home, WHOLE)
        self.bank = in_bank(self.home)
        done = self.copy("reference")
        assert forked(lambda: train(done, self.parts, HALF)) == 0
        self.resumed = content(done, HALF)

    def _more(self) -> None:
        os.environ["DTVG_HOME"] = str(self.home)
        runs = self.home / "runs"
        write_labels(runs / WHOLE / "rte.dtvg.s0", Labels(("good",), "a note"))
        shutil.copytree(runs / WHOLE, runs / "gone")
        trash.delete(ExperimentDir(runs / "gone"))
        jobs = self.home / "queue" / "jobs"
        jobs.mkdir(parents=True)
        job = {"id": "000001", "path": str(runs / WHOLE), "state": "done", "order": 1.0}
        (jobs / "000001.json").write_text(json.dumps(job))
        (jobs.parent / "settings.json").write_text('{"slots": {"cpu": 2}}')
        self._of_a_driver(ExperimentDir(runs / WHOLE))
        (self.home / "people.yaml").write_text(
            "operators:\n  emails: [a@example.org]\nviewers:\n  groups: [b]\nlogin_hours: 12\n"
        )
        audit.append({"person": "a@example.org", "action": "stop"})
        (self.home / "tasks").mkdir(exist_ok=True)
        (self.home / "tasks" / "mine.csv").write_text("a,b\n" + "x y,good\nz,bad\n" * 20)
        text = 'files: {train: mine.csv}\ntext: "r: {a}"\nlabel: b\nlabels: [good, bad]\n'
        (self.home / "tasks" / "mine.yaml").write_text(text + "licence: none\n")

    def _of_a_driver(self, whole: ExperimentDir) -> None:
        """Write what drivers, workers, mirrors and people leave in an experiment."""
        cohort, run = whole.cohort("transfer-000"), whole.run("rte.dtvg.s0")
        scale = {"on": "local", "slots": 2}
        place = {"scale": scale, "only": ["rte.dtvg.s0"], "bank": "b", "code": {"torch": "2"}}
        job = {"cohort": cohort.id, "token": TOKEN, "executor": "local", "id": "7", "slot": "cpu"}
        fleet = {
            "host": "here", "on": "local", "ended": False, "slots": 2, "waiting_count": 1,
            "places": [{"host": "here", "title": "2 cores", "slots": 2, "state": "up"}],
            "running": [{"cohort": cohort.id, "slot": "cpu", "attempt": 1}], "over": {"done": 1},
            "waiting": [{"cohort": "later", "for": [cohort.id]}], "failed": {"x": "why"},
            "busy_seconds": 1.0, "offered_seconds": 2.0,
        }  # fmt: skip
        replace_json(whole.scale_path, place)
        replace_json(whole.fleet_path, fleet)
        replace_json(cohort.job_path, {**job, "facts": {"pid": 7}, "started": 1.0})
        replace_json(cohort.ended_path, {"token": TOKEN, "kind": "done", "why": "", "host": "h"})
        replace_json(run.control_dir / "person.1", {"sentence": "A person did this."})
        reach = position.Reach(2, 1, 0.5)
        position.save(run, "tensorboard", position.Position(key="k", done=reach, sending=reach))

    def copy(self, name: str) -> Path:
        """Return a fresh copy of the home."""
        place = self.root / name
        shutil.rmtree(place, ignore_errors=True)
        return Path(shutil.copytree(self.home, place, copy_function=shutil.copy2))

    def command(self, argv: list[str], tally: Tally, what: str, home: Path) -> int | None:
        """Run a command in this process; None where it ended in a traceback."""
        os.environ["DTVG_HOME"] = str(home)
        said = io.StringIO()
        tally.commands += 1
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                status = main(argv)
        except SystemExit as ended:
            status = int(ended.code or 0)
        except BaseException as error:  # noqa: BLE001 - that is what is counted
            tally.tracebacks.append(f"{' '.join(argv)} after {what}: {_said(error)}")
            return None
        tally.seen["refused or named" if status else "went on"] += 1
        return status

    def one(self, rng: random.Random, tally: Tally, resume: float) -> None:
        """Damage one file, ask commands, and put the file back."""
        changing = rng.random() < resume
        path = chosen(rng, [p for p in self.files if not changing or "queue" not in p.parts])
        home = self.copy("trial") if changing else self.home
        target = home / path.relative_to(self.home)
        what = f"{path.relative_to(self.home)}: {damage(rng, target, self.files)}"
        tally.inputs += 1
        try:
            if changing:
                self._change(rng, tally, what, home)
            else:
                self._read(rng, tally, what, path.name)
        finally:
            shutil.copy2(self.root / "safe" / path.relative_to(self.home), path)

    def keep_safe(self) -> None:
        """Keep a copy from which files are put back."""
        self.copy("safe")

    def ask(self, name: str, tally: Tally, what: str) -> None:
        """Ask as a page, a driver or a worker does."""
        os.environ["DTVG_HOME"] = str(self.home)
        whole = ExperimentDir(self.home / "runs" / WHOLE)
        tally.commands += 1
        try:
            CALLS[name](whole)
        except DtvgError:
            tally.seen["refused or named"] += 1
        except BaseException as error:  # noqa: BLE001 - that is what is counted
            tally.tracebacks.append(f"{name} after {what}: {_said(error)}")
        else:
            tally.seen["went on"] += 1

    def _read(self, rng: random.Random, tally: Tally, what: str, name: str) -> None:
        for call in {OF_CALL.get(name, "overview"), rng.choice(sorted(CALLS))}:
            self.ask(call, tally, what)
        verified = self.command(["runs", "verify", WHOLE], tally, what, self.home)
        for argv in rng.sample(READING, 1):
            self.command(argv, tally, what, self.home)
        if rng.random() < 0.2:
            out = self.root / rng.choice(["out.csv", "out.parquet"])
            table = rng.choice(list(TABLES))
            argv = ["runs", "export", WHOLE, "--table", table, "--out", str(out)]
            self.command(argv, tally, what, self.home)
        if verified == 0:
            try:
                same = content(self.home, WHOLE) == self.wanted
            except Exception:  # noqa: BLE001 - verify should have said it
                same = False
            if not same:
                tally.accepted.append(f"runs verify: ok after {what}")
        if in_bank(self.home) != self.bank:
            if self.command(["prompts", "verify"], tally, what, self.home) == 0:
                tally.accepted.append(f"prompts verify: ok after {what}")

    def _change(self, rng: random.Random, tally: Tally, what: str, home: Path) -> None:
        action = rng.choice(["resume", "resume", "resume", "delete"])
        if action == "delete":
            place = rng.choice([WHOLE, f"{WHOLE}/rte.dtvg.s0"])
            if self.command(["runs", "delete", place], tally, what, home) == 0:
                self.command(["runs", "restore", place], tally, what, home)
            return
        note = home / "rc"

        def act() -> None:
            inner = Tally()
            status = self.command(["runs", "resume", HALF, "--quiet"], inner, what, home)
            note.write_text(json.dumps([status, inner.tracebacks]))

        os.environ["DTVG_HOME"] = str(home)
        assert forked(act) == 0, what
        status, tracebacks = json.loads(note.read_text())
        tally.commands += 1
        tally.tracebacks += tracebacks
        tally.seen[f"resume {status}"] += 1
        if status == 0 and content(home, HALF) != self.resumed:
            found = content(home, HALF)
            differs = [k for k, v in self.resumed.items() if found.get(k) != v]
            tally.accepted.append(f"resume: another history after {what} ({differs[:2]})")


def run(root: Path, seed: int, count: int, resume: float = 0.05) -> Tally:
    """Damage so many inputs; return what came of them."""
    fuzz, tally, rng = Fuzz(root), Tally(), random.Random(seed)
    fuzz.keep_safe()
    for number in range(1, count + 1):
        fuzz.one(rng, tally, resume)
        if number % 50 == 0:
            told(tally)
    return tally


def told(tally: Tally) -> None:
    """Print what was counted so far."""
    print(tally.inputs, "inputs", tally.commands, "commands", dict(tally.seen), flush=True)
    for kind in (tally.tracebacks, tally.accepted):
        print(len(kind), *kind, sep="\n  ", flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        found = run(Path(place), int(sys.argv[1]), int(sys.argv[2]))
    told(found)
