"""An experiment as one file: out and in again, bit for bit; damage and tricks are refused."""

from __future__ import annotations

import json
import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from dtvg import paths
from dtvg.config import build_config
from dtvg.errors import ConfigError, DtvgError, StoreError
from dtvg.exchange import archives, own_tasks
from dtvg.exchange.experiments import MANIFEST, bring, pack
from dtvg.records import RunState
from dtvg.storage.place import Place
from dtvg.storage.push import Foreign, Pusher, identity_of
from dtvg.store.layout import ExperimentDir, create_experiment
from dtvg.store.liveness import look_at_all
from dtvg.store.reader import open_experiment, open_run, read_table
from dtvg.store.verify import verify_run
from dtvg.tasks.catalogue import find_task
from dtvg.tasks.files import own_files
from dtvg.testing.tiny_run import tiny_config
from dtvg.training.one_cohort import is_begun
from tests.storage.test_storage import Made, steps_of

NAME = "yelp-recorded"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smaller recorded example as a file."""
    to = tmp_path_factory.mktemp("packed") / f"{NAME}.zip"
    made = pack(ExperimentDir(paths.examples() / NAME), to)
    assert made.size == to.stat().st_size
    return to


def test_what_was_exported_comes_back_bit_for_bit_and_over_nothing(
    packed: Path, own_home: Path
) -> None:
    runs = own_home / "runs"
    with pytest.raises(ConfigError, match="already an experiment.*e.g. 'yelp-recorded-2'"):
        bring(packed, runs)  # the recorded one would be hidden
    made = bring(packed, runs, "again")
    before, after = open_experiment(paths.examples() / NAME), open_experiment(made.path)
    assert after.problem is None and after.config is not None and after.config.name == "again"
    assert [r.name for r in after.runs] == [r.name for r in before.runs]
    assert [r.test_score for r in after.runs] == [r.test_score for r in before.runs]
    for run in after.runs[:2]:
        assert verify_run(run.path) == []
        for path in (paths.examples() / NAME / run.name).rglob("*.parquet"):
            there = made.path / path.relative_to(paths.examples() / NAME)
            assert there.read_bytes() == path.read_bytes()
    with pytest.raises(ConfigError, match="already an experiment 'again'"):
        bring(packed, runs, "again")
    assert sorted(p.name for p in runs.iterdir() if p.name[0] != ".") == ["again"]
    assert not list(runs.glob(".import-*"))
    with pytest.raises(ConfigError, match="is there already"):
        pack(made, packed)


def test_what_a_killed_import_left_is_removed_a_day_later(packed: Path, own_home: Path) -> None:
    """It lay there for ever, with all that had been unpacked."""
    old = [own_home / "runs" / name for name in (".import-0123456789ab", ".fork-0123456789ab")]
    kept = [own_home / "runs" / name for name in (".merge-0123456789ab", ".import-of-mine")]
    for place in (*old, *kept):
        (place / "a").mkdir(parents=True)
    for place in (*old, kept[1]):
        os.utime(place, (1e9, 1e9))
    bring(packed, own_home / "runs", "again")
    assert not any(place.exists() for place in old) and all(place.exists() for place in kept)


def _rewrite(source: Path, to: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """Write an archive again with other contents; the manifest is not made anew."""
    with zipfile.ZipFile(source) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    change(held)
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in held.items():
            archive.writestr(name, content)
    return to


def _listed(held: dict[str, bytes], name: str, content: bytes) -> None:
    """Add a file that the manifest lists truthfully."""
    import hashlib

    manifest = json.loads(held[MANIFEST])
    entry = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    held |= {name: content}
    held[MANIFEST] = json.dumps({**manifest, "files": {**manifest["files"], name: entry}}).encode()


def _changed(held: dict[str, bytes]) -> None:
    held["experiment.yaml"] = held["experiment.yaml"].replace(b"seeds", b"seedS")


def _fewer(held: dict[str, bytes]) -> None:
    del held[next(n for n in held if n.endswith(".parquet"))]


TRICKS: dict[str, tuple[Callable[[dict[str, bytes]], None], str]] = {
    "changed": (_changed, "'experiment.yaml' in .* differs from its SHA-256"),
    "fewer": (_fewer, "lacks '.*parquet'"),
    "unlisted": (lambda h: h.update({"more.txt": b"x"}), "unlisted file 'more.txt'"),
    "up": (lambda h: _listed(h, "../../up.txt", b"x"), "leaves its folder"),
    "root": (lambda h: _listed(h, "/tmp/up.txt", b"x"), "leaves its folder"),
    "drive": (lambda h: _listed(h, "C:\\up.txt", b"x"), "leaves its folder"),
    "bomb": (lambda h: _listed(h, "big.bin", bytes(8 << 20)), "which no export does"),
    "case": (lambda h: _listed(h, "EXPERIMENT.yaml", b"x"), "two files"),
    "manifest": (lambda h: h.update({MANIFEST: b"{"}), "is damaged"),
    "no manifest": (lambda h: h.pop(MANIFEST) and None, "no exported experiment"),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_damage_and_tricks_are_refused_and_leave_nothing(
    packed: Path, own_home: Path, tmp_path: Path, trick: str
) -> None:
    change, sentence = TRICKS[trick]
    file = _rewrite(packed, tmp_path / "odd.zip", change)
    with pytest.raises(StoreError, match=sentence):
        bring(file, own_home / "runs", "odd")
    assert not (own_home / "runs" / "odd").exists()
    assert not [p for p in own_home.rglob("*") if p.is_file() and p.parent.name != ".locks"]


def test_links_and_cut_off_files_are_refused(packed: Path, own_home: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.zip"
    with zipfile.ZipFile(link, "w") as archive:
        info = zipfile.ZipInfo("prompts")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc")
    with pytest.raises(StoreError, match="is a link"):
        archives.unpack(link, tmp_path / "into")
    content = packed.read_bytes()
    for odd in (content[: len(content) // 2], b"no zip", b""):
        cut = tmp_path / "cut.zip"
        cut.write_bytes(odd)
        with pytest.raises(StoreError, match="damaged or no zip file"):
            bring(cut, own_home / "runs", "cut")
    flipped = bytearray(content)
    flipped[len(content) // 3] ^= 0xFF
    cut.write_bytes(bytes(flipped))
    with pytest.raises(DtvgError):
        bring(cut, own_home / "runs", "cut")
    assert not (own_home / "runs" / "cut").exists()


LEASE = {
    "generation": 1,
    "token": "x",
    "process": {"host": "far", "boot": "b-far", "pid": 5, "process_started": 1.0, "ticks": 3},
    "locks": True,
    "taken_at": 1e9,
    "released": False,
}


def _killed_elsewhere(root: Path) -> ExperimentDir:
    """An experiment with a mirror, whose process on another host was killed long ago."""
    values = {"name": "mine", "targets": ["rte"], "methods": ["none"], "seeds": [0, 1, 2]}
    made = create_experiment(build_config(values), root)
    (made.path / "storage.json").write_text(json.dumps({"id": "of-the-first", "turn": 3}))
    for run, state in zip(made.runs(), ("running", "stopping", "finished"), strict=True):
        status = json.loads(run.status_path.read_text()) | {"state": state, "cohort": "c"}
        run.status_path.write_text(json.dumps({**status, **LEASE["process"], "lease": "x"}))
        os.utime(run.status_path, (1e9, 1e9))
    for folder in (made.path, made.cohort("c").path):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "lease.json").write_text(json.dumps(LEASE))
        os.utime(folder / "lease.json", (1e9, 1e9))
    made.cohort("c").job_path.write_text('{"token": "t", "executor": "slurm", "id": "4711"}')
    return made


@pytest.mark.parametrize("earlier", [False, True])
def test_neither_lease_nor_name_in_a_mirror_travels(
    own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, earlier: bool
) -> None:
    made = _killed_elsewhere(own_home / "runs")
    with monkeypatch.context() as patch:
        if earlier:
            patch.setattr("dtvg.exchange.experiments.NOT_FILES", ("process.json",))
        pack(made, tmp_path / "mine.zip")
    with zipfile.ZipFile(tmp_path / "mine.zip") as archive:
        held = {name.rpartition("/")[2] for name in archive.namelist()}
    assert ({"lease.json", "storage.json", "job.json"} <= held) is earlier
    assert bool({"lease.json", "storage.json", "job.json"} & held) is earlier

    there = bring(tmp_path / "mine.zip", tmp_path / "other")
    assert not list(there.path.rglob("lease.json"))
    assert look_at_all(there.path).held is False
    assert is_begun(made.cohort("c")) and not is_begun(there.cohort("c"))
    found = [open_run(run.path) for run in there.runs()]
    assert [run.state for run in found[:2]] == [RunState.STOPPED] * 2
    assert found[0].message.startswith("Imported from a file") and not found[2].message
    assert all(verify_run(run.path) == [] for run in there.runs()[:2])

    store = Place((tmp_path / "store").as_uri())
    Pusher(store, made).push()
    assert identity_of(there)[0] != identity_of(made)[0] == "of-the-first"
    with pytest.raises(Foreign, match="another experiment named 'mine'"):
        Pusher(store, there).push()


def test_committed_rows_that_have_not_got_their_names_travel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Made(tmp_path / "runs")
    made.commit()
    with monkeypatch.context() as patch:
        patch.setattr("dtvg.store.writer.reveal", lambda pending: None)  # killed just before
        made.commit()
    pack(made.experiment, tmp_path / "made.zip")
    there = bring(tmp_path / "made.zip", tmp_path / "other")
    assert read_table(open_run(there.runs()[0].path), "evals").num_rows == 20
    assert steps_of(there.path) == 20


@pytest.mark.parametrize("name", ["plot 10:30.png", os.fsdecode(b"plot \xff.png")])
def test_a_file_that_no_import_takes_is_named_by_the_export(tmp_path: Path, name: str) -> None:
    made = Made(tmp_path / "runs")
    made.commit()
    try:
        (made.run.path / name).touch()
    except OSError:
        pytest.skip("this file system has only names that are text")
    with pytest.raises(StoreError, match=f"{name}' has a name that not every file system"):
        pack(made.experiment, tmp_path / "made.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_data_of_a_task_may_be_named_like_what_does_not_travel(
    own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _with_task(own_home, tmp_path / "lease.json")
    (tmp_path / "lease.json").write_text('[{"text": "fine food", "kind": "good"}]')
    pack(made, tmp_path / "mine.zip")
    monkeypatch.setenv("DTVG_HOME", str(tmp_path / "other"))
    bring(tmp_path / "mine.zip", tmp_path / "other" / "runs")
    assert (tmp_path / "other" / "tasks" / "meals" / "lease.json").is_file()


ROWS = "text,kind\nfine food,good\ncold soup,bad\n"
TASK = """files: {{train: {data}}}
text: '{{text}}'
label: kind
labels: [bad, good]
metrics: [accuracy]
"""


def _with_task(home: Path, data: Path) -> ExperimentDir:
    """An experiment on a task of one's own, whose data lie elsewhere."""
    data.write_text(ROWS)
    (home / "tasks").mkdir(parents=True, exist_ok=True)
    (home / "tasks" / "meals.yaml").write_text(TASK.format(data=data))
    config = build_config(tiny_config(home / "parts", name="mine", targets=["meals"]))
    return create_experiment(config, home / "runs")


def test_tasks_of_ones_own_travel_and_replace_none(
    own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _with_task(own_home, tmp_path / "rows.csv")
    assert pack(made, tmp_path / "mine.zip").tasks == ("meals",)
    said: list[str] = []
    bring(tmp_path / "mine.zip", own_home / "runs", "back", said.append)
    assert not said, "here it is the same task"

    monkeypatch.setenv("DTVG_HOME", str(tmp_path / "other"))
    (tmp_path / "rows.csv").unlink()
    there = bring(tmp_path / "mine.zip", tmp_path / "other" / "runs", None, said.append)
    assert said == ["Tasks that came with it: meals."]
    assert not (there.path / "tasks").exists()
    ((_, place),) = find_task("meals").files
    assert Path(place) == tmp_path / "other" / "tasks" / "meals" / "rows.csv"
    assert Path(place).read_text() == ROWS

    Path(place).write_text(ROWS + "no,bad\n")
    bring(tmp_path / "mine.zip", tmp_path / "other" / "runs", "twice", said.append)
    assert said[1].startswith("You have another task 'meals', which was kept")


@pytest.mark.parametrize("written", ["{}/rows.csv", "$HERE/rows.csv", "rows.csv"])
def test_a_task_whose_data_lie_beside_it_travels_however_they_are_named(
    own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    made = _with_task(own_home, tmp_path / "first.csv")
    monkeypatch.setenv("HERE", str(own_home / "tasks"))
    (own_home / "tasks" / "rows.csv").write_text(ROWS)
    text = TASK.format(data=written.format(own_home / "tasks"))
    (own_home / "tasks" / "meals.yaml").write_text(text)
    pack(made, tmp_path / "mine.zip")
    monkeypatch.setenv("DTVG_HOME", str(tmp_path / "other"))
    monkeypatch.setenv("HERE", "/nowhere")
    said: list[str] = []
    bring(tmp_path / "mine.zip", tmp_path / "other" / "runs", None, said.append)
    assert said == ["Tasks that came with it: meals."]
    ((_, place),) = find_task("meals").files
    assert Path(place) == tmp_path / "other" / "tasks" / "meals" / "rows.csv"


@pytest.mark.parametrize(
    "names",
    [
        ["rows 10:30.csv"],
        ["Rows.csv", "rows.csv"],
        [f"{'x' * 200}.csv.gz"],
        ["X" * 196 + ".csv", "x" * 196 + ".csv"],
    ],
)
def test_data_of_a_task_travel_under_names_that_can_be_used_everywhere(
    own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]
) -> None:
    made = _with_task(own_home, tmp_path / "first.csv")
    for name in names:
        (own_home / "tasks" / name).write_text(ROWS)
    (own_home / "tasks" / "meals.yaml").write_text(TASK.format(data=json.dumps(names)))
    pack(made, tmp_path / "mine.zip")
    monkeypatch.setenv("DTVG_HOME", str(tmp_path / "other"))
    bring(tmp_path / "mine.zip", tmp_path / "other" / "runs")
    places = [Path(place) for _, place in find_task("meals").files]
    assert len(set(places)) == len(names) and all(p.read_text() == ROWS for p in places)
    assert all(p.name.endswith(n[n.index(".csv") :]) for p, n in zip(places, names, strict=True))


@pytest.mark.parametrize("data", ["parts/train-*.csv", "parts", "train-*.csv"])
def test_data_that_a_glob_or_a_folder_names_travel_too(
    own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str
) -> None:
    made = _with_task(own_home, tmp_path / "first.csv")
    root = own_home / "tasks"
    folder = root / "parts" if data.startswith("parts") else root
    folder.mkdir(exist_ok=True)
    for number in range(2):
        (folder / f"train-{number}.csv").write_text(f"{ROWS}meal {number},good\n")
    (root / "meals.yaml").write_text(TASK.format(data=data))
    packed = pack(made, tmp_path / "mine.zip")
    assert packed.tasks == ("meals",) and not packed.without_data
    said: list[str] = []
    bring(tmp_path / "mine.zip", own_home / "runs", "back", said.append)
    assert not said, "here it is the same task"
    monkeypatch.setenv("DTVG_HOME", str(tmp_path / "other"))
    bring(tmp_path / "mine.zip", tmp_path / "other" / "runs", None, said.append)
    assert said == ["Tasks that came with it: meals."]
    spec = find_task("meals")
    texts = [p.read_text() for s, place in spec.files for p in own_files(spec, Path(place), s)]
    assert texts == [f"{ROWS}meal {number},good\n" for number in range(2)]


def test_a_task_whose_data_are_gone_here_is_not_taken_for_the_one_that_comes(
    own_home: Path, tmp_path: Path
) -> None:
    (own_home / "tasks").mkdir()
    made = _with_task(own_home, own_home / "tasks" / "rows.csv")
    pack(made, tmp_path / "mine.zip")
    (own_home / "tasks" / "rows.csv").unlink()
    said: list[str] = []
    bring(tmp_path / "mine.zip", own_home / "runs", "back", said.append)
    assert [s.startswith("You have another task 'meals', which was kept") for s in said] == [True]


def test_a_task_whose_data_do_not_travel_is_said_to_be_without_them(
    own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _with_task(own_home, own_home / "rows.csv")
    (own_home / "tasks" / "meals.yaml").write_text(TASK.format(data="rows.csv"))
    assert pack(made, tmp_path / "mine.zip").without_data == ("meals",)
    monkeypatch.setenv("DTVG_HOME", str(tmp_path / "other"))
    said: list[str] = []
    bring(tmp_path / "mine.zip", tmp_path / "other" / "runs", None, said.append)
    assert said[1] == "Without their data, which you have to put there: meals."


def test_a_task_that_comes_in_reads_no_file_of_this_machine(own_home: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text(ROWS)
    for at, data in enumerate((secret, "../../secret.csv", "$HOME/secret.csv")):
        place = tmp_path / f"staged{at}" / "tasks" / "spy"
        place.mkdir(parents=True)
        (place / "spy.yaml").write_text(TASK.format(data=data))
        (said,) = own_tasks.settle(place.parent.parent)
        assert said == "Task 'spy' was left out: its description reads 'secret.csv' elsewhere."
        assert not (own_home / "tasks" / "spy").exists()
