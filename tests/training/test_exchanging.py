"""Runs that exchange: apart as together, in step or not, killed or late; what is logged of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dtvg.analysis.run.relations import relation_info
from dtvg.config import build_config
from dtvg.errors import ConfigError
from dtvg.figures.relations import matrix_figure, rounds_figure, row_figure
from dtvg.methods.base import find_method
from dtvg.methods.exchanging import Met
from dtvg.plan.stored import keep_plan
from dtvg.store.bank import PromptBank
from dtvg.store.layout import ExperimentDir, create_experiment
from dtvg.store.offers import OfferFiles
from dtvg.store.reader import Run, open_run, read_prompts, read_table
from dtvg.store.verify import verify_run
from dtvg.testing.tiny_run import tiny_config
from dtvg.training import one_cohort, procedures
from dtvg.training.exchanging import Exchange, _from_kept
from dtvg.training.procedures import run_cohort, run_experiment
from dtvg.training.signals import StopWish

from .settings import moved_prompt

TARGETS = ["rte", "mrpc", "cola"]


def _config(folder: Path, wait: float = 60, **method: object):
    settings = {"name": "primal_dual", "share": TARGETS, **method}
    values = tiny_config(
        folder,
        sources=["sst2", "cola"],
        targets=TARGETS,
        methods=[settings],
        device={"name": "cpu", "threads": 1, "precision": "float64"},
        scale={"wait_seconds": wait},
    )
    return build_config(values)


LOADING = threading.Lock()


@pytest.fixture(autouse=True, scope="module")
def workers_as_threads() -> Iterator[None]:
    """Loading a backbone is not made for threads; prompts of Stage I differ from their start."""
    load = procedures.load_backbone

    def locked(*arguments: object):
        with LOADING:
            return load(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(procedures, "load_backbone", locked)
        patch.setattr(procedures, "to_task_prompt", moved_prompt)
        yield


def _apart(folder: Path, config, bank: Path) -> ExperimentDir:
    """Lay an experiment out with a cohort for each target, its Stage I done."""
    experiment = create_experiment(config, folder)
    made = keep_plan(experiment, config, 3)
    for cohort in made.stage_one:
        run_cohort(experiment, cohort.id, StopWish(), bank=PromptBank(bank))
    assert [len(cohort.runs) for cohort in made.transfer] == [1, 1, 1]
    return experiment


def _train(experiment: ExperimentDir, bank: Path, *cohorts: int, stop: dict | None = None) -> None:
    """Train cohorts side by side, a thread each."""
    for number in cohorts:  # as a driver notes it
        folder = experiment.cohort(f"transfer-{number:03d}")
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.job_path.write_text('{"token": "t"}')
        folder.ended_path.unlink(missing_ok=True)
    failed: list[BaseException] = []

    def work(number: int) -> None:
        name = f"transfer-{number:03d}"
        wish = StopWish() if stop is None else stop[number]
        try:
            run_cohort(experiment, name, wish, bank=PromptBank(bank))
        except BaseException as error:  # noqa: BLE001 - raised below, in the test's own thread
            failed.append(error)
        experiment.cohort(name).ended_path.write_text('{"token": "t"}')

    threads = [threading.Thread(target=work, args=(number,)) for number in cohorts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def _runs(experiment: ExperimentDir) -> dict[str, Run]:
    found = [open_run(path.path) for path in experiment.runs() if "primal_dual" in path.name]
    return {run.config.target: run for run in found}


def _same(one: ExperimentDir, other: ExperimentDir, bound: float) -> None:
    first, second = _runs(one), _runs(other)
    assert set(first) == set(second) == set(TARGETS)
    for target, run in first.items():
        for which in ("best", "final"):
            here, there = (read_prompts(r, which) for r in (run, second[target]))
            for name in here:
                assert np.abs(here[name] - there[name]).max() <= bound, (target, which, name)
        here, there = (read_table(r, "steps").to_pandas() for r in (run, second[target]))
        assert np.abs(here["loss"] - there["loss"]).max() < 1e-6


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ExperimentDir]:
    """The synchronous method: all targets in one cohort."""
    folder = tmp_path_factory.mktemp("duals")
    experiment = create_experiment(_config(folder), folder / "together")
    run_experiment(experiment, bank=PromptBank(folder / "bank"))
    return folder, experiment


def test_workers_in_step_train_the_synchronous_method(together) -> None:
    folder, synchronous = together
    apart = _apart(folder / "apart", _config(folder), folder / "bank")
    _train(apart, folder / "bank", 0, 1, 2)
    _same(synchronous, apart, 1e-8)
    for target, run in _runs(apart).items():
        assert verify_run(run.path) == []
        rows = read_table(run, "exchanges").to_pandas()
        assert sorted(set(rows["task"])) == sorted(set(TARGETS) - {target})
        assert set(rows["how"]) == {"met"} and (rows["task_step"] == rows["step"]).all()
        assert len(rows) == 2 * 12
        assert run.result.extra["exchange"]["held"] == 12


def test_a_shared_matrix_holds_the_others_rows_and_weighs_their_vectors(together) -> None:
    _, experiment = together
    runs = _runs(experiment)
    tables = {t: read_table(run, "relations").to_pandas() for t, run in runs.items()}
    names = {"rte": ("sst2", "cola"), "mrpc": ("sst2", "cola"), "cola": ("sst2",)}
    for target, table in tables.items():
        last = table[table["step"] == 12]
        others = [f"{t} (target)" if t in names[target] else t for t in TARGETS if t != target]
        assert set(last["task"]) == {"target", *names[target], *others}
        sums = last.groupby("task")["relation"].sum()
        assert np.allclose(sums, 1, atol=1e-5)
        own = last[last["task"] == "target"].set_index("other")["relation"]
        assert (own[others] > 0).all()
    # rte knows mrpc's row as it was a round before
    mine = tables["rte"][(tables["rte"]["step"] == 12) & (tables["rte"]["task"] == "mrpc")]
    assert set(mine["other"]) == {"target", "sst2", "cola", "mrpc", "cola (target)"}
    assert mine["dual"].abs().min() > 0
    start = tables["rte"][tables["rte"]["step"] == 0]
    assert set(start["task"]) == {"target", "sst2", "cola"}  # nobody was heard of yet


def test_the_view_shows_the_matrix_and_the_rounds(together) -> None:
    _, experiment = together
    info = relation_info(_runs(experiment)["rte"])
    assert info.tasks == ("rte", "sst2", "cola", "mrpc", "cola (target)")
    assert info.steps.tolist() == [0, 5, 10, 12] and np.isnan(info.matrices[0, 0, 3])
    assert np.nansum(info.matrices, axis=-1)[-1] == pytest.approx(np.ones(5), abs=1e-5)
    assert info.summary.set_index("task")["met"].to_dict() == {"cola": 12, "mrpc": 12}
    for draw in (matrix_figure, row_figure, rounds_figure):
        assert len(draw(info).data)


def test_rounds_that_a_run_leaves_out_are_logged_with_it_and_with_the_others(
    tmp_path: Path, together
) -> None:
    folder, _ = together
    config = _config(folder, every=2, skip=0.5)
    experiment = create_experiment(config, tmp_path)
    run_experiment(experiment, bank=PromptBank(folder / "bank"))
    tables = {t: read_table(r, "exchanges").to_pandas() for t, r in _runs(experiment).items()}
    left = {t: set(rows[rows["task"] == t]["step"]) for t, rows in tables.items()}
    method = find_method(config.methods[0])
    rounds = range(2, 13, 2)
    assert left == {t: {s for s in rounds if not method.takes_part(t, 0, s)} for t in TARGETS}
    for target, rows in tables.items():
        assert set(rows["step"]) == set(rounds)
        for _, row in rows[rows["task"] != target].iterrows():
            assert (row["how"] == "skipped") == (row["step"] in left[row["task"]])
        told = _runs(experiment)[target].result.extra["exchange"]
        assert told.get("skipped", 0) == len(left[target])


def test_cohorts_one_after_the_other_meet_the_last_duals_of_those_that_ended(together) -> None:
    folder, _ = together
    experiment = _apart(folder / "later", _config(folder), folder / "bank")
    _train(experiment, folder / "bank", 0)
    _train(experiment, folder / "bank", 1)
    runs = _runs(experiment)
    first, second = (read_table(runs[t], "exchanges").to_pandas() for t in ("rte", "mrpc"))
    assert set(first["how"]) == {"absent"} and first["waited_s"].max() < 1
    of_rte = second[second["task"] == "rte"]
    assert of_rte["how"].tolist() == ["ended"] * 11 + ["met"] and set(of_rte["task_step"]) == {12}


class _At(StopWish):
    """Asks to stop once a run has written so many offers."""

    def __init__(self, offers: Callable[[], int | None], step: int) -> None:
        super().__init__(lambda: (offers() or 0) >= step)

    def __bool__(self) -> bool:
        self.look()
        return super().__bool__()

    def look(self) -> None:
        if self.watch():
            self.ask()


@pytest.mark.slow
def test_a_stopped_experiment_goes_on_with_the_numbers_of_an_unbroken_one(together) -> None:
    folder, synchronous = together
    experiment = _apart(folder / "stopped", _config(folder), folder / "bank")
    files = OfferFiles(experiment)
    names = {run.config.target: run.name for run in _runs(experiment).values()}
    wishes = {i: _At(lambda: files.newest(names["mrpc"]), 5) for i in range(3)}
    _train(experiment, folder / "bank", 0, 1, 2, stop=wishes)
    assert not any(run.result for run in _runs(experiment).values())
    _train(experiment, folder / "bank", 0, 1, 2)
    _same(synchronous, experiment, 1e-8)
    for run in _runs(experiment).values():
        assert set(read_table(run, "exchanges").to_pandas()["how"]) == {"met"}


def _kill_at(monkeypatch: pytest.MonkeyPatch, cohort: str, step: int) -> None:
    """Let a cohort's process die without a word in the middle of a step."""
    train = one_cohort.train

    def dying(made, stop, report, remarks, exchange):
        if made.directory.id == cohort:
            whole = made.step

            def one() -> None:
                if made.slots[0].step == step:
                    raise SystemExit
                whole()

            made.step = one
        train(made, stop, report, remarks, exchange)

    monkeypatch.setattr(one_cohort, "train", dying)


def test_what_a_run_took_is_read_back_as_it_was(tmp_path: Path) -> None:
    """A run that goes on takes numbers as numbers, which keep their shape without axes."""
    files = OfferFiles(create_experiment(_config(tmp_path), tmp_path / "runs"))
    slot = SimpleNamespace(name="mrpc.primal_dual.s0", step=8)
    (files.experiment.path / slot.name).mkdir()
    offer = {"vector": np.arange(6.0).reshape(2, 3).T, "settled": np.array(7.0)}
    met = {"rte": Met("met", offer, 8), "cola": Met("absent")}
    Exchange(files, files)._keep(slot, met, {"rte": 0.5, "cola": 0.0})
    again, waited = _from_kept(files.taken(slot.name, slot.step))
    assert waited == {"rte": 0.5, "cola": 0.0}
    assert again["cola"].how == "absent" and again["cola"].offer is None
    assert (again["rte"].how, again["rte"].step) == ("met", 8)
    for name, array in offer.items():
        np.testing.assert_array_equal(again["rte"].offer[name], array, strict=True)


@pytest.mark.slow
def test_a_killed_worker_takes_again_what_it_took_and_says_that_others_moved_on(
    together, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, synchronous = together
    experiment = _apart(folder / "killed", _config(folder, wait=3), folder / "bank")
    _kill_at(monkeypatch, "transfer-001", 7)
    with pytest.raises(SystemExit):
        _train(experiment, folder / "bank", 0, 1, 2)
    runs = _runs(experiment)
    assert runs["rte"].result and not runs["mrpc"].result
    of_mrpc = read_table(runs["rte"], "exchanges").to_pandas().query("task == 'mrpc'")
    stale = of_mrpc[of_mrpc["how"] == "stale"]
    assert stale["step"].tolist() == [8, 9, 10, 11, 12] and set(stale["task_step"]) == {7}
    told = read_table(runs["rte"], "events").to_pandas().query("kind == 'stale'")
    assert "mrpc did not offer anything of step 8" in told["detail"].item()
    monkeypatch.undo()
    _train(experiment, folder / "bank", 1)
    mrpc = _runs(experiment)["mrpc"]
    unbroken = _runs(synchronous)["mrpc"]
    here, there = (read_table(run, "steps").to_pandas() for run in (mrpc, unbroken))
    assert here["step"].tolist() == list(range(1, 13))
    assert np.abs(here["loss"] - there["loss"])[:8].max() < 1e-6  # as if it had not been killed
    rows = read_table(mrpc, "exchanges").to_pandas().query("task == 'rte'")
    assert rows["how"].tolist() == ["met"] * 12  # the offers of these steps are still there
    told = read_table(mrpc, "events").to_pandas().query("kind == 'moved_on'")["detail"]
    assert len(told) == 2 and "the run on rte was found at step 12" in told.iloc[0]


def test_settings_that_share_nothing_or_not_all_are_refused(tmp_path: Path) -> None:
    cases = {
        "twice": {"share": ["rte", "rte"]},
        "at least two targets": {"share": ["rte"]},
        "nothing is exchanged without 'share'": {"every": 5},
        "name every target there": {"share": ["rte", "mrpc"]},
        "rtee": {"share": ["rtee", "mrpc", "cola"]},
    }
    for words, method in cases.items():
        with pytest.raises(ConfigError, match=words):
            _config(tmp_path, **{"share": [], **method})


def test_old_settings_keep_their_fingerprint_and_where_one_waits_is_in_none(tmp_path: Path) -> None:
    plain = tiny_config(tmp_path, targets=TARGETS, methods=["primal_dual"])
    config = build_config(plain)
    assert not {"share", "every"} & set(config.to_values()["methods"][0])
    other = build_config({**plain, "scale": {"wait_seconds": 5}})
    assert config.fingerprint() == other.fingerprint()
    shared = _config(tmp_path)
    assert shared.fingerprint() != _config(tmp_path, every=5).fingerprint()
    assert shared.fingerprint() != _config(tmp_path, skip=0.25).fingerprint()
    assert shared.fingerprint() == _config(tmp_path, wait=1).fingerprint()
