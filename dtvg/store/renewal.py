"""Letting an experiment of which nothing is trained yet be made with today's versions.

docs/run_files.md "Versions".
"""

from __future__ import annotations

from dtvg.config import ExperimentConfig
from dtvg.store import versions
from dtvg.store.files import replace_json
from dtvg.store.layout import ExperimentDir, add_run
from dtvg.store.recovery import has_rows
from dtvg.versions import Version


def renew(
    experiment: ExperimentDir, config: ExperimentConfig, stage_one: Version | None = None
) -> None:
    """Let an experiment of which nothing is trained yet be made with today's versions.

    Args:
        experiment: its folder.
        config: its configuration.
        stage_one: version of Stage I; None: today's.
    """
    if any(cohort.state_path.exists() for cohort in experiment.cohorts()):
        return
    if any(has_rows(run) for run in experiment.runs()):  # merged of others, without their commits
        return
    now = versions.versions_of_all(config)
    if stage_one is not None:
        now["stage_one"] = stage_one
    if experiment.versions == now:
        return
    for run in config.runs():
        directory = experiment.run(run.name)
        if directory.config_path.exists():
            directory.config_path.unlink()
            add_run(experiment, run, now)
    replace_json(experiment.versions_path, now)  # last: a kill before it lets all be made again
