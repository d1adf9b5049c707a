"""What trains now, on the overview: each experiment with its stages, time left and a way there."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dtvg import paths
from dtvg.analysis import titles
from dtvg.analysis.overview.progress import progress
from dtvg.jobs import launcher, queue
from dtvg.store.layout import ExperimentDir
from dtvg.store.reader import Experiment, open_experiment
from dtvg.ui import cache
from dtvg.ui.page import guarded, link
from dtvg.ui.progress import stage_line

REFRESH_SECONDS = 3.0
LOOK_SECONDS = 10.0
"""So often it is looked whether anything has been started elsewhere."""


def going() -> tuple[str, ...]:
    """Return the names of the experiments that a process trains now, newest first."""
    found = cache.experiment_paths()
    own = [path for path in found.values() if path.parent == paths.runs()]
    return tuple(path.name for path in own if launcher.is_held(path))


def draw(experiments: Sequence[Experiment]) -> bool:
    """Show what trains now, and go on looking.

    Returns:
        Whether anything trains.
    """
    names = going()
    by_name = {e.name: e.path for e in experiments}

    def rows() -> None:
        for name in names:
            if name in by_name:
                _row(open_experiment(by_name[name]))

    @st.fragment(run_every=REFRESH_SECONDS if names else LOOK_SECONDS)
    def training() -> None:
        if going() != names:
            st.rerun()
        guarded(rows)

    if names:
        st.header("Training now", anchor=False)
    training()
    return bool(names)


def _row(experiment: Experiment) -> None:
    """Show one experiment."""
    found = progress(experiment)
    with st.container(horizontal=True, vertical_alignment="center"):
        link("live", experiment.name, experiment=experiment.name)
        st.markdown(stage_line(found), width="content")
    if found.now:
        run = found.now[0]
        more = f" and {len(found.now) - 1} more" if len(found.now) > 1 else ""
        st.caption(f"Now: {titles.run(run.name)}{more}, step {run.step:,} of {run.total_steps:,}")
    else:
        place = queue.place_of(ExperimentDir(experiment.path))
        st.caption("Its process is starting." if not place else f"Place {place} in the queue.")
