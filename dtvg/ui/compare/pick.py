"""What the compare page is about: experiments, runs chosen elsewhere, a split; in the URL.

`experiment` is a comma-separated list, `runs` limits the page to some runs of them
(`experiment/run,experiment/run`), as the overview links them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st

from dtvg.analysis.compare.info import damaged_note
from dtvg.analysis.pools import pool
from dtvg.analysis.words import counted
from dtvg.store.reader import Experiment, Run
from dtvg.ui import address, cache, forms, runs
from dtvg.ui.page import link


@dataclass(frozen=True)
class Choice:
    """What is compared."""

    experiments: tuple[Experiment, ...]
    runs: tuple[Run, ...]
    """Readable transfer runs of any state."""
    split: str
    notes: tuple[str, ...] = ()
    """Which experiments count as one, and what to know of it."""
    before: tuple[Run, ...] = ()
    """Readable runs of Stage I, which tables of scores show too; none where runs were chosen."""

    @property
    def scored(self) -> tuple[Run, ...]:
        """What has scores to compare: all that the command line compares."""
        return (*self.runs, *self.before)

    @property
    def done(self) -> tuple[Run, ...]:
        """Those that have finished."""
        return tuple(r for r in self.runs if r.result is not None)

    @property
    def targets(self) -> list[str]:
        """Targets in order."""
        return list(dict.fromkeys(r.target for r in self.runs))

    @property
    def name(self) -> str:
        """Short name for downloads and keys of figures."""
        return "+".join(e.name for e in self.experiments)

    @property
    def order(self) -> tuple[str, ...]:
        """All sources of the experiments: a source's place fixes its colour."""
        listed = [s for e in self.experiments if e.config for s in e.config.sources]
        return tuple(dict.fromkeys((*listed, *(s for r in self.runs for s in r.sources))))

    def named(self) -> dict[str, Run]:
        """Return the runs by "experiment/run"."""
        return {full_name(run): run for run in self.runs}


def full_name(run: Run) -> str:
    """Return how a run is named in URLs."""
    return f"{run.path.parent.name}/{run.name}"


def pick() -> Choice | None:
    """Let one choose what to compare; None where there is nothing, after saying what to do."""
    found = cache.experiment_paths()
    if not found:
        runs.pick_experiment()
        return None
    named = address.listed(address.given("runs") or "")
    wanted = [r for r in named if "/" in r]
    address.note("runs", ",".join(r for r in named if "/" not in r), "experiment/run.", "")
    with st.container(horizontal=True):
        names = _experiments(list(found), [w.partition("/")[0] for w in wanted])
        split = runs.choose("Split", ("test", "validation"), "split") or "test"
    opened = [e for e in (cache.open_named(n) for n in names) if e is not None]
    for experiment in opened:
        if experiment.problem:
            st.warning(forms.escape(experiment.problem), icon=":material/warning:")
    made = pool(opened, len(opened) > 1 and not _together())
    readable = [r for r in made.runs if r.problem is None]
    transfer = [r for r in readable if r.role == "transfer"]
    before = () if wanted else tuple(r for r in readable if r.role != "transfer")
    damaged = damaged_note([r for e in opened for r in e.runs if r.problem is not None])
    if damaged:
        st.warning(forms.escape(damaged), icon=":material/warning:")
    if wanted:
        transfer = _limited(transfer, wanted)
    if not opened:
        if not _absent(list(found)):
            st.info("Choose at least one experiment above.")
        address.leave()
        return None
    together = tuple(one.experiment for one in made.pools)
    return Choice(together, tuple(transfer), split, made.notes, before)


def _together() -> bool:
    """Let one choose whether experiments with equal settings count as one."""
    address.recall("pool", address.truth, True)
    chosen = st.toggle(
        "Pool",
        key="pool",
        help="Experiments that differ only in seeds, targets or methods count as one. A run that "
        "is there twice counts once.",
    )
    address.keep("pool", chosen, True)
    return chosen


def _experiments(names: list[str], first: list[str]) -> list[str]:
    """Let one choose experiments; the newest at first, or those of the runs in the URL."""
    asked = _absent(names)
    fine = [n for n in names if cache.is_experiment(cache.experiment_paths()[n])]
    default = [n for n in dict.fromkeys(first) if n in names] or ([] if asked else fine[:1])
    kept = [n for n in st.session_state.get("compared", []) if n in names]
    now = st.session_state.get("experiment", st.session_state.get("last-experiment"))
    if isinstance(now, str):  # as another page left it, which shows one experiment
        back = kept if kept and kept[0] == now else [now]
        st.session_state["last-experiment"] = ",".join(back)
        st.session_state["experiment"] = back if now else None
    text = address.given("experiment")
    if asked and st.session_state.get("url-experiment") != text:
        st.session_state["experiment"] = [n for n in asked if n in names]
        st.session_state["url-experiment"] = text
    else:
        address.recall("experiment", _parse(names), default)
    found = cache.experiment_paths()

    def show(name: str) -> str:
        return f"{name} (recorded example)" if cache.is_example(found[name]) else name

    chosen = st.multiselect("Experiments", names, key="experiment", format_func=show)
    if asked and sorted(chosen) == sorted(n for n in asked if n in names):
        for name in (n for n in asked if n not in names):
            runs.say_absent("experiment", name, names)  # and the address stays
        return chosen
    address.keep_several("experiment", chosen)
    # other pages show one experiment: the first
    st.session_state["last-experiment"] = chosen[0] if chosen else ""
    st.session_state["compared"] = list(chosen)
    return chosen


def _absent(names: list[str]) -> list[str]:
    """Return the experiments an address names, where some of them are not there; else nothing."""
    asked = address.listed(address.given("experiment") or "")
    return asked if any(name not in names for name in asked) else []


def _parse(names: list[str]) -> Callable[[str], list[str] | None]:
    """Read a list of experiments; one that names none that is there says nothing, but a person
    may have emptied the box."""
    several = address.several(names)
    return lambda text: [] if text == "[]" else several(text) or None


def _limited(transfer: list[Run], wanted: list[str]) -> list[Run]:
    """Keep the runs chosen elsewhere, say so, and offer all."""
    held = set(wanted)
    kept = [r for r in transfer if full_name(r) in held]
    gone = held - {full_name(r) for r in kept}
    if gone:
        named = ", ".join(sorted(gone)[:5]) + (", …" if len(gone) > 5 else "")
        st.warning(
            f"Of the runs in this address {len(gone)} are not here: {forms.escape(named)}.",
            icon=":material/search_off:",
        )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(
            f"Only what was chosen on the overview: {len(kept)} of {counted(len(transfer), 'run')}."
        )
        if st.button("Compare all runs", type="tertiary", key="all-runs"):
            st.query_params.pop("runs", None)
            st.rerun()
    return kept


def nothing_finished() -> None:
    """Say that there are no scores yet."""
    st.info(
        "Nothing to compare yet: scores appear here as runs finish. The live page shows their "
        "progress."
    )
    link("live", "Go to Live")
