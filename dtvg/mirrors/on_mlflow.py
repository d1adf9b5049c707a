"""MLflow: the server of `MLFLOW_TRACKING_URI`, else files under `mirrors/mlflow`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

from dtvg.mirrors.adapter import Facts, Row, Stored
from dtvg.store.files import locked

METRICS_AT_ONCE = 1000
"""MLflow takes no more in one request."""
PARAMS_AT_ONCE = 100
LONGEST_PARAM = 6000


class Mlflow:
    """An MLflow experiment of the experiment's name, with a run per run."""

    def __init__(self) -> None:
        self._client: MlflowClient | None = None
        self._experiment: dict[str, str] = {}

    def open(self, facts: Facts, known: str | None) -> str:
        """Begin a run with its settings as parameters, or go on with it."""
        client = self._connected(facts.folder / "mlflow")
        if known is not None:
            client.set_terminated(known, "RUNNING")
            return known
        made = client.create_run(self._of(client, facts), run_name=facts.run)
        key = str(made.info.run_id)
        params = [Param(k, str(v)[:LONGEST_PARAM]) for k, v in facts.settings.items()]
        for start in range(0, len(params), PARAMS_AT_ONCE):
            client.log_batch(key, params=params[start : start + PARAMS_AT_ONCE])
        return key

    def write(self, key: str, rows: Sequence[Row]) -> None:
        """Log metrics in batches."""
        metrics = [
            Metric(name, value, int(row.time * 1000), row.step)
            for row in rows
            for name, value in row.values.items()
        ]
        for start in range(0, len(metrics), METRICS_AT_ONCE):
            self._there.log_batch(key, metrics=metrics[start : start + METRICS_AT_ONCE])

    def stored(self, key: str) -> Stored:
        """Ask for the history of every metric that the run has."""
        names = self._there.get_run(key).data.metrics
        return {(m.step, n) for n in names for m in self._there.get_metric_history(key, n)}

    def close(self, key: str, finished: bool) -> None:
        """End the run; a stopped one is KILLED until it goes on."""
        self._there.set_terminated(key, "FINISHED" if finished else "KILLED")

    @property
    def _there(self) -> MlflowClient:
        assert self._client is not None
        return self._client

    def _connected(self, folder: Path) -> MlflowClient:
        if self._client is None:
            uri = os.environ.get("MLFLOW_TRACKING_URI")
            if not uri:
                folder.mkdir(parents=True, exist_ok=True)
                os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
                uri = folder.as_uri()
            self._client = MlflowClient(tracking_uri=uri)
        return self._client

    def _of(self, client: MlflowClient, facts: Facts) -> str:
        """Return MLflow's id of the experiment; made once, also by several processes."""
        if facts.experiment not in self._experiment:
            with locked(facts.folder / ".mlflow.lock"):
                found = client.get_experiment_by_name(facts.experiment)
                made = found.experiment_id if found else client.create_experiment(facts.experiment)
            self._experiment[facts.experiment] = str(made)
        return self._experiment[facts.experiment]
