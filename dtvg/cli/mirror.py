"""`dtvg runs mirror EXPERIMENT`: bring to trackers what they do not have yet."""

from __future__ import annotations

import argparse
from typing import Any

from dtvg.cli.places import locate_whole
from dtvg.errors import ConfigError, JobError


def add(action: Any) -> None:
    """Add `runs mirror`."""
    what = "bring scalars, group sizes and membership to trackers that lack them"
    command = action("mirror", what, bring, "+", "EXPERIMENT")
    command.add_argument(
        "--to",
        action="append",
        choices=("tensorboard", "wandb", "mlflow", "trackio"),
        help="a tracker (repeatable); default: those of logging.mirror",
    )


def bring(arguments: argparse.Namespace) -> int:
    """Bring every named experiment, all of its runs; what is there already is not sent again."""
    from dtvg.analysis.words import counted
    from dtvg.errors import DtvgError
    from dtvg.mirrors.adapter import check_installed
    from dtvg.mirrors.bring import bring_experiment
    from dtvg.store.layout import load_experiment

    for place in arguments.places:
        experiment = locate_whole(place, arguments.runs_dir)
        _, config = load_experiment(experiment.path)
        trackers = tuple(arguments.to or config.logging.mirror)
        if not trackers:
            raise ConfigError(
                f"Experiment '{experiment.name}' names no tracker; give one, e.g. --to tensorboard."
            )
        check_installed(config.logging.model_copy(update={"mirror": trackers}))
        try:
            count = bring_experiment(experiment.path, trackers)
        except DtvgError:
            raise
        except Exception as error:  # noqa: BLE001 - of a tracker
            said = " ".join(str(error).split())[:200]
            raise JobError(
                f"Mirroring '{experiment.name}' ended: {type(error).__name__}: {said}. The next "
                "call goes on from there."
            ) from None
        print(f"{experiment.name}: {counted(count, 'run')} brought to {', '.join(trackers)}.")
    return 0
