"""trackio: its local database (`TRACKIO_DIR`, else the folder that `trackio show` opens)."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime

import trackio

from dtvg.mirrors.adapter import Facts, Row, Setting, Stored


class Trackio:
    """A project of the experiment's name, with a run per run."""

    def __init__(self) -> None:
        self._facts: dict[str, Facts] = {}

    def open(self, facts: Facts, known: str | None) -> str:
        """Note the run; its settings go with the first rows."""
        key = known or secrets.token_hex(16)
        self._facts[key] = facts
        return key

    def write(self, key: str, rows: Sequence[Row]) -> None:
        """Write all rows in one transaction."""
        facts = self._facts[key]
        config: dict[str, Setting] = {k: v for k, v in facts.settings.items() if k[:1] != "_"}
        trackio.SQLiteStorage.bulk_log(
            facts.experiment,
            facts.run,
            [dict(row.values) for row in rows],
            steps=[row.step for row in rows],
            timestamps=[datetime.fromtimestamp(row.time, UTC).isoformat() for row in rows],
            config=config,
            run_id=key,
        )

    def stored(self, key: str) -> Stored:
        """Read back what the database holds."""
        facts = self._facts[key]
        logs = trackio.SQLiteStorage.get_logs(facts.experiment, facts.run, run_id=key)
        return {(int(log["step"]), name) for log in logs for name in log}

    def close(self, key: str, finished: bool) -> None:
        """Forget the run."""
        self._facts.pop(key, None)
