"""The scheduler that drives every executor, on simulated slots with faults."""

from __future__ import annotations

import logging

import pytest

from dtvg.errors import JobError
from dtvg.plan.graph import cut_sizes
from dtvg.scale.executor import Ended, Job
from dtvg.scale.scheduler import REFUSALS, Piece, Scheduler
from dtvg.scale.simulation import Faults, Simulation, bound, least_time, many_pieces, run

PAIR = [
    Piece("first", 10.0, ("a", "b"), frozenset()),
    Piece("second", 10.0, ("c",), frozenset({"a"})),
    Piece("third", 10.0, ("d",), frozenset({"b"})),
]


@pytest.fixture(autouse=True)
def quiet() -> None:
    logging.getLogger("dtvg.scale").setLevel(logging.ERROR)


@pytest.mark.parametrize("seed", [0, 1])
def test_nothing_is_lost_or_trained_twice_while_workers_die_and_nodes_go(seed: int) -> None:
    pieces, lengths = many_pieces(1000, 100, seed)
    hopeless = frozenset({pieces[3].id})
    faults = Faults(deaths=0.5, node_losses=1.0, hopeless=hopeless)
    made = Simulation(pieces, lengths, nodes=4, slots_each=8, faults=faults, seed=seed)
    scheduler = run(made)  # the simulation refuses a second worker and a second training
    assert made.node_losses >= 2 and made.starts > 110
    assert set(made.given_up) == hopeless
    done = {id_ for id_, ended in scheduler.over.items() if ended.kind == "done"}
    assert done == {piece.id for piece in pieces} - hopeless
    for piece in pieces:
        if piece.id not in hopeless:
            assert made.committed[piece.id] == pytest.approx(lengths[piece.id])
    died = made.starts - len(pieces)
    assert made.lost_seconds <= died * made.commit_every


def test_slots_are_used_as_far_as_the_critical_path_allows() -> None:
    pieces, lengths = many_pieces(2000, 400, seed=4)
    made = Simulation(pieces, lengths, nodes=8, slots_each=4, overhead=0.0)
    run(made)
    assert bound(pieces, lengths, 32) / made.now >= 0.95


def test_the_last_cohorts_are_cut_finer_so_that_slots_end_together() -> None:
    even, its_lengths = many_pieces(2000, 200, seed=4)
    finer, lengths = many_pieces(2000, 200, seed=4, slots=50)
    assert sum(lengths.values()) == pytest.approx(sum(its_lengths.values()))
    assert [len(piece.runs) for piece in finer].count(10) < len(even) < len(finer)
    assert {run for piece in even for run in piece.runs} == {r for p in finer for r in p.runs}
    took = []
    for pieces, real in ((even, its_lengths), (finer, lengths)):
        made = Simulation(pieces, real, nodes=10, slots_each=5)
        run(made)
        took.append(made.now)
    assert took[1] < 0.97 * took[0] and least_time(finer, lengths, 50) / took[1] >= 0.95


@pytest.mark.parametrize(
    ("runs", "most", "slots"),
    [(1, 8, 4), (30, 8, 4), (64, 8, 4), (65, 8, 4), (900, 7, 13), (9, 1, 2)],
)
def test_cohorts_of_any_sizes_hold_every_run_once(runs: int, most: int, slots: int) -> None:
    sizes = cut_sizes(runs, most, slots)
    assert max(sizes) <= most and sizes == sorted(sizes, reverse=True)
    assert sum(sizes) >= runs > sum(sizes[:-1])
    assert (len(set(sizes)) > 1) == (runs > 2 * slots * most and most > 1)


def test_no_schedule_is_faster_than_the_least_time() -> None:
    lengths = {"first": 100.0, "second": 5.0, "third": 5.0}
    assert least_time(PAIR, lengths, 3) == 105.0  # the longest path
    assert least_time(PAIR, lengths, 1) == 110.0  # all the work
    two = [Piece("a", 1.0, ("a",)), *(Piece(x, 1.0, (x,), frozenset({"a"})) for x in "bcd")]
    assert least_time(two, dict.fromkeys("abcd", 10.0), 2) == 25.0  # one slot idles at first
    pieces, lengths = many_pieces(600, 60, seed=2)
    made = Simulation(pieces, lengths, nodes=2, slots_each=8, overhead=0.0)
    run(made, look=0.5)
    assert least_time(pieces, lengths, 16) <= min(made.now, 1.01 * bound(pieces, lengths, 16))


def test_a_cohort_starts_as_soon_as_what_it_needs_is_made() -> None:
    made = Simulation(PAIR, {"first": 100.0, "second": 5.0, "third": 5.0}, 1, 3, overhead=0.0)
    scheduler = Scheduler(PAIR, made, made, clock=lambda: made.now)
    scheduler.turn()
    assert set(scheduler.running) == {"first"} and scheduler.waits_for("second") == ["first"]
    made.advance(51.0)  # half of it: its first run is made, the second is not
    scheduler.turn()
    assert set(scheduler.running) == {"first", "second"}
    assert scheduler.waits_for("third") == ["first"]


def test_a_cohort_that_always_fails_is_given_up_and_the_rest_goes_on() -> None:
    faults = Faults(hopeless=frozenset({"first"}))
    made = Simulation(PAIR, {"first": 100.0, "second": 5.0, "third": 5.0}, 1, 3, faults)
    scheduler = run(made, tries=4)
    assert made.starts == 4 + 2 and made.given_up == ["first"]
    assert "4 attempts in a row" in scheduler.over["first"].why
    assert {scheduler.over[id_].kind for id_ in ("second", "third")} == {"done"}


def test_stopping_starts_nothing_more_and_ends_what_trains() -> None:
    made = Simulation(PAIR, {"first": 100.0, "second": 5.0, "third": 5.0}, 1, 3)
    scheduler = Scheduler(PAIR, made, made, clock=lambda: made.now)
    scheduler.turn()
    scheduler.stop()
    scheduler.turn()
    assert scheduler.finished and scheduler.over["first"].kind == "stopped"
    assert scheduler.waiting == ["second", "third"]


def test_what_an_earlier_driver_started_is_taken_over() -> None:
    made = Simulation(PAIR, {"first": 100.0, "second": 5.0, "third": 5.0}, 1, 3)
    before = Scheduler(PAIR, made, made, clock=lambda: made.now)
    before.turn()
    (job,) = before.running.values()
    after = Scheduler(PAIR, made, made, clock=lambda: made.now)
    after.adopt([job])
    after.turn()
    assert made.starts == 1 and after.running == {"first": job}
    elsewhere = Job("first", "t", "another engine", "7")
    third = Scheduler(PAIR, made, made, clock=lambda: made.now)
    third.adopt([elsewhere])  # its lease is held, so it is waited for
    third.turn()
    assert made.starts == 1 and set(third.running) == {"first"}


def test_when_every_machine_refuses_the_driver_says_so_at_once() -> None:
    class Refusing(Simulation):
        def watch(self, jobs: object) -> dict[str, Ended]:
            for cohort in list(self.lives):
                self._end(cohort, Ended("refused", "torch 1 here, torch 2 there"))
            return dict(super().watch(jobs))  # type: ignore[arg-type]

    made = Refusing(PAIR, {"first": 100.0, "second": 5.0, "third": 5.0}, 1, 3)
    with pytest.raises(JobError, match="No machine could train anything. torch 1 here"):
        run(made, tries=100)
    assert made.starts == REFUSALS
