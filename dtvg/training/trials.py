"""What a run that waits for trials starts from: its method's choice by their validation scores.

docs/methods.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dtvg.config import RunConfig, run_name
from dtvg.store.layout import ExperimentDir
from dtvg.store.reader import open_run


def choose_by_trials(
    experiment: ExperimentDir, run: RunConfig
) -> tuple[dict[str, np.ndarray], dict[str, Any], str]:
    """Let a run's method choose among its sources, by the finished trials of its target and seed.

    Args:
        experiment: where the trials lie.
        run: whose method needs trials.

    Returns:
        Inputs of the run: `chosen [n]`, 1 for the sources kept, and `candidates [B n]` where it
        trains several subsets; the facts for its result; and a sentence.

    Raises:
        NumericsError: too few trials have finished to tell the sources apart.
    """
    trials, scores, names = [], [], []
    for trial in run.needs.trials:
        name = run_name(run.target, trial.label, run.seed)
        result = open_run(experiment.run(name).path).result
        if result is not None:
            trials.append(trial)
            scores.append(result.validation_score)
            names.append(name)
    choice = run.trained.choose(run.sources, trials, scores)
    inputs = {"chosen": np.array(choice.chosen, dtype=np.float32)}
    if choice.candidates:
        inputs["candidates"] = np.array(choice.candidates, dtype=np.float32)
    return inputs, {**choice.note, "trials": names}, choice.sentence
