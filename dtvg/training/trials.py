"""What a surrogate's final run starts from: the fit of its trials' validation scores.

Must not import streamlit or plotly. arXiv 2303.14582; `dtvg.trials` holds the fit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dtvg.config import RunConfig, run_name
from dtvg.methods.specs import Surrogate
from dtvg.store.layout import ExperimentDir
from dtvg.store.reader import open_run
from dtvg.trials import fit_surrogate


def choose_by_trials(
    experiment: ExperimentDir, run: RunConfig
) -> tuple[np.ndarray, dict[str, Any]]:
    """Fit the surrogate on the finished trials of a run's target and seed.

    Args:
        experiment: where the trials lie.
        run: the final run of a `surrogate`.

    Returns:
        `chosen [n]`, 1 for the sources kept, and the facts for the run's result.

    Raises:
        NumericsError: too few trials have finished to tell the sources apart.
    """
    method: Surrogate = run.method  # type: ignore[assignment]
    subsets, scores, names = [], [], []
    for trial in method.trials(run.sources):
        name = run_name(run.target, trial.label, run.seed)
        result = open_run(experiment.run(name).path).result
        if result is not None and trial.subset is not None:
            subsets.append(trial.subset)
            scores.append(result.validation_score)
            names.append(name)
    fit = fit_surrogate(run.sources, subsets, scores, method.interval)
    kept = fit.kept(method.threshold)
    chosen = np.array([name in kept for name in run.sources], dtype=np.float32)
    return chosen, {"subset": list(kept), "trials": names, **fit.to_json()}
