"""How often each source was in a run's group, as its log says.

Noted in `result.json` when a run ends, so that a glance at many long runs reads no log.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from dtvg.store.reader import Run, read_table


def shares_in_log(run: Run) -> dict[str, float]:
    """Read how often each source was in the group.

    Args:
        run: whose; what is committed counts.

    Returns:
        Source → share of the logged steps, 0..1, in the log's order; empty where none is logged.

    Raises:
        StoreError: a part file is damaged.
    """
    rows = read_table(run, "sources", ["source", "member"])
    rows = rows.set_column(1, "member", pc.cast(rows.column("member"), pa.float64()))
    means = pa.TableGroupBy(rows, "source", use_threads=False).aggregate([("member", "mean")])
    told = zip(means.column("source").to_pylist(), means.column("member_mean"), strict=True)
    return {source: share.as_py() for source, share in told}


def noted_shares(run: Run) -> dict[str, float] | None:
    """Return the same as noted when the run ended; None where it was not."""
    return None if run.result is None else run.result.shares


__all__ = ["noted_shares", "shares_in_log"]
