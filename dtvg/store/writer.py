"""Writing the log: rows gather in memory and become visible with a commit, never before.

THE COMMIT: (1) new rows go to dot-prefixed files, synced; (2) one atomic rename puts the
cohort's `state.safetensors` in place, which holds the checkpoint and names those files: this
is the commit; (3) the files get their names. A kill between (2) and (3) is rolled forward by
`recover`, anything else without a commit is dropped. docs/run_files.md.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save as safetensors_bytes

from dtvg.config import RunConfig
from dtvg.errors import StoreError
from dtvg.records import TABLES, RunResult
from dtvg.store import digests
from dtvg.store.files import json_text, replace_bytes, replace_json, sync_file, sync_folder
from dtvg.store.layout import CohortDir, RunDir, id_of
from dtvg.store.recovery import recover
from dtvg.store.state_files import PROMPTS_OF, kept_prompts, read_state, reveal
from dtvg.store.tables import (
    BY_STEP,
    READING_ERRORS,
    Part,
    concatenate,
    cover,
    part_name,
    parts,
    read_checked,
    schema_of,
    to_arrow,
    write_parquet,
)
from dtvg.store.usage import Meter

log = logging.getLogger(__name__)


class RunWriter:
    """One run's rows on their way to disk, its prompts and its result.

    Rows given to `extend` stay in memory until a commit of the cohort takes them.
    """

    def __init__(self, run: RunDir, config: RunConfig) -> None:
        self.run = run
        self.run_id = id_of(run)
        self.compact_rows = config.logging.compact_rows
        self._logging = config.logging
        self._covered: dict[str, tuple[int, int]] = {}
        """Steps that the gathered rows stand for, those left out included."""
        self._lock = threading.Lock()
        self._batches: dict[str, list[pa.Table]] = {table: [] for table in TABLES}
        found = {table: parts(run.table_dir(table)) for table in TABLES}
        self._next = {
            table: max((p.last for p in found[table]), default=0) + 1
            for table in TABLES
            if table not in BY_STEP
        }
        self.rows = {table: count_rows(cover(found[table])) for table in TABLES}
        """Rows of each table, those included that were taken and are not committed yet."""

    def extend(self, table: str, columns: Mapping[str, Any]) -> None:
        """Add rows; columns not given are null.

        Args:
            table: `steps`, `sources`, `evals` or `events`.
            columns: sequences of equal length.

        Raises:
            StoreError: unknown column or values of another type.
        """
        batch = to_arrow(table, columns)
        if table in BY_STEP:
            batch = self._kept(table, batch)
        if batch is None:
            return
        with self._lock:
            self._batches[table].append(batch)

    def _kept(self, table: str, batch: pa.Table) -> pa.Table | None:
        """Return the rows of the steps that the run's detail keeps; None: no such table at all."""
        if self._logging.detail == "full" or not batch.num_rows:
            return batch
        if self._logging.detail == "scores":
            return None
        steps = batch.column("step").to_pylist()
        first, _ = self._covered.get(table, (steps[0], 0))
        self._covered[table] = (first, steps[-1])
        return batch.filter([self._logging.logs_step(s) for s in steps])

    def take(self) -> dict[str, tuple[int, int, pa.Table]]:
        """Remove and return the gathered rows by table, with what their part file covers."""
        taken = {}
        with self._lock:
            for table, batches in self._batches.items():
                if not batches:
                    continue
                data = concatenate(table, batches)
                if table in self._covered:
                    first, last = self._covered.pop(table)
                elif table in BY_STEP:
                    steps = data.column("step")
                    first, last = steps[0].as_py(), steps[-1].as_py()
                else:
                    first = self._next[table]
                    last = first + data.num_rows - 1
                    self._next[table] = last + 1
                taken[table] = (first, last, data)
                self.rows[table] += data.num_rows
                batches.clear()
        return taken

    def write_prompts(
        self, which: str, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]
    ) -> None:
        """Write `prompts/<which>.safetensors` (initial, best or final), atomically.

        A prompt that the run's detail does not keep is not written.
        """
        if which not in kept_prompts(self._logging.detail):
            return
        arrays = {k: np.asarray(v, order="C") for k, v in tensors.items()}
        text = {k: v for k, v in metadata.items() if k != digests.KEY}
        if self.run_id:
            text[PROMPTS_OF] = self.run_id
        text[digests.KEY] = digests.of_tensors(arrays, digests.of_metadata(text))
        content = digests.ordered(safetensors_bytes(arrays, metadata=text))
        replace_bytes(self.run.prompts_dir / f"{which}.safetensors", content)

    def finish(self, result: RunResult) -> None:
        """Compact the run's files, then write `result.json`, last of all."""
        for table in TABLES:
            compact(self.run, table, self.compact_rows, everything=True)
        content = json.loads(json_text(result.__dict__))
        prompts = {
            path.stem: digests.noted_in(path) for path in self.run.prompts_dir.glob("*.safetensors")
        }
        noted = {"result": digests.of_json(content), "rows": self.rows, "prompts": prompts}
        replace_json(self.run.digests_path, digests.with_digest(noted))
        replace_json(self.run.result_path, content)


MOST_WAITING = 64 << 20
"""Bytes of rows that wait in memory for a disk that refuses, before training waits."""


@dataclass(frozen=True)
class Snapshot:
    """What one commit will write: rows by run and table, tensors and numbers."""

    rows: Mapping[str, Mapping[str, tuple[int, int, pa.Table]]]
    tensors: Mapping[str, np.ndarray]
    meta: Mapping[str, Any]

    @property
    def nbytes(self) -> int:
        """Bytes of its rows."""
        return sum(data.nbytes for tables in self.rows.values() for *_, data in tables.values())


class CohortWriter:
    """Commits rows and state of all runs of a cohort together."""

    def __init__(
        self,
        cohort: CohortDir,
        writers: Mapping[str, RunWriter],
        guard: Callable[[], None] = lambda: None,
    ) -> None:
        """Make it.

        Args:
            cohort: where the state goes.
            writers: by run.
            guard: called before each commit; raises a StoreError where it must not happen.
        """
        self.cohort = cohort
        self.writers = dict(writers)
        self.guard = guard
        self.meter = Meter(cohort)
        self._stale: list[Path] = []

    def snapshot(self, tensors: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> Snapshot:
        """Take all rows gathered so far, with the state they lead to (main thread, cheap)."""
        rows = {name: writer.take() for name, writer in self.writers.items()}
        runs = dict(meta.get("runs", {}))
        for name, writer in self.writers.items():
            if name in runs:
                owner = {"run_id": writer.run_id} if writer.run_id else {}
                runs[name] = {**runs[name], "rows": dict(writer.rows), **owner}
        return Snapshot(rows, tensors, {**meta, "runs": runs} if runs else meta)

    def commit(self, snapshot: Snapshot) -> None:
        """Make a snapshot durable and visible; see the module's first lines.

        Raises:
            StoreError: the disk refuses; nothing of the snapshot is visible then.
        """
        pending: list[tuple[Path, Path]] = []
        try:
            for name, tables in snapshot.rows.items():
                for table, (first, last, data) in tables.items():
                    final = self.writers[name].run.table_dir(table) / part_name(first, last)
                    pending.append((final.with_name(f".{final.name}"), final))
                    _write_hidden(data, pending[-1][0], self.writers[name].run_id)
            self.guard()
            self._put_state(snapshot, [final for _, final in pending])
            reveal(pending)
        except OSError as error:
            self._stale += [hidden for hidden, _ in pending]
            raise StoreError(
                f"Rows cannot be written to '{self._root}' ({error.strerror or error}); free "
                "some space, then resume; what was committed is safe."
            ) from None
        except Exception:
            self._stale += [hidden for hidden, _ in pending]
            raise
        try:
            self._after(snapshot)
        except Exception as error:  # noqa: BLE001 - what is committed must not be tried again
            log.warning("'%s' is not tidied after a commit (%r)", self.cohort.path, error)

    def _after(self, snapshot: Snapshot) -> None:
        """Do what a commit leaves to be done; nothing is lost where it fails."""
        self._tidy()
        trained = snapshot.meta.get("runs", {})
        self.meter.note({name: int(of["step"]) for name, of in trained.items() if "step" in of})
        for name, tables in snapshot.rows.items():
            for table in tables:
                compact(self.writers[name].run, table, self.writers[name].compact_rows)

    def _put_state(self, snapshot: Snapshot, finals: list[Path]) -> None:
        """Put the state in place that names the rows' files: from now on they are committed."""
        names = [str(final.relative_to(self._root)) for final in finals]
        meta = {"meta": snapshot.meta, "pending": names, "time": time.time()}
        text = {"dtvg": json.dumps(meta)}
        arrays = {k: np.asarray(v, order="C") for k, v in snapshot.tensors.items()}
        text[digests.KEY] = digests.of_tensors(arrays, digests.of_metadata(text))
        content = safetensors_bytes(arrays, metadata=text)
        _keep_before(self.cohort)
        replace_bytes(self.cohort.state_path, content)

    def _tidy(self) -> None:
        """Remove what failed commits left, now that a later one holds their rows.

        Not before: the failure may have come after the state that names these files.
        """
        with contextlib.suppress(OSError):
            while self._stale:
                self._stale[-1].unlink(missing_ok=True)
                self._stale.pop()

    @property
    def _root(self) -> Path:
        return self.cohort.path.parent.parent

    @staticmethod
    def load(cohort: CohortDir) -> tuple[dict[str, np.ndarray], dict[str, Any], list[str]] | None:
        """Return tensors, numbers and part files of the newest commit; None before the first.

        Raises:
            StoreError: the state file is damaged.
        """
        if not cohort.state_path.exists():
            return None
        tensors, content = read_state(cohort.state_path)
        return tensors, content["meta"], content["pending"]

    @staticmethod
    def recover(
        cohort: CohortDir, runs: Mapping[str, RunDir]
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Bring the files to the newest commit; see `recovery.recover`."""
        return recover(cohort, runs)


def _keep_before(cohort: CohortDir) -> None:
    """Keep the commit that is about to be replaced, for the case that the new one is damaged."""
    if not cohort.state_path.exists():
        return
    link = cohort.path / f".{cohort.before_path.name}.{secrets.token_hex(6)}.tmp"
    with contextlib.suppress(OSError):  # without links the newest commit is the only one
        os.link(cohort.state_path, link)
        os.replace(link, cohort.before_path)
    with contextlib.suppress(OSError):
        link.unlink(missing_ok=True)  # stays where both are the same file already, or on a failure


def count_rows(found: Sequence[Part]) -> int:
    """Return how many rows part files hold; a damaged one counts as none."""
    total = 0
    for part in found:
        with contextlib.suppress(*READING_ERRORS):
            total += pq.read_metadata(part.path).num_rows
    return total


def _write_hidden(data: pa.Table, hidden: Path, run_id: str) -> None:
    """Write rows to a dot-prefixed file that no reader sees, and wait for the disk."""
    hidden.parent.mkdir(parents=True, exist_ok=True)
    write_parquet(data, hidden, run_id)
    sync_file(hidden)


class Committer:
    """A thread that commits snapshots, spaced so that they take at most a share of the time.

    One snapshot is in work at most; a failed commit, whatever failed, is kept and raised by `wait`
    and `close`, and its snapshot is tried again with the next one.
    """

    def __init__(self, writer: CohortWriter, seconds: float, share: float = 0.01) -> None:
        self.writer = writer
        self.seconds = seconds
        self.share = share
        self.most_waiting = MOST_WAITING
        self.seconds_spent = 0.0
        """CPU seconds all commits took so far."""
        self.commits = 0
        self._last_cost = 0.0
        self._last_end = time.monotonic()
        self._thread: threading.Thread | None = None
        self._error: StoreError | None = None
        self._unwritten: list[Snapshot] = []
        self._waiting = 0

    def due(self) -> bool:
        """Whether it is time for another commit and none is in work."""
        if self._thread is not None and self._thread.is_alive():
            return False
        return time.monotonic() - self._last_end >= self.pause

    @property
    def pause(self) -> float:
        """Seconds from the end of a commit to the next."""
        return max(self.seconds, self._last_cost / self.share)

    @property
    def full(self) -> bool:
        """Whether so many rows wait for a disk that refuses that training should wait too."""
        return self._error is not None and self._waiting > self.most_waiting

    def submit(self, snapshot: Snapshot) -> None:
        """Commit a snapshot in the background, after the one in work."""
        if self._thread is not None:
            self._thread.join()
        self._unwritten = [Snapshot(s.rows, {}, {}) for s in self._unwritten]  # newest state only
        self._unwritten.append(snapshot)
        self._waiting = sum(s.nbytes for s in self._unwritten)
        self._thread = threading.Thread(target=self._work, name="commit", daemon=False)
        self._thread.start()

    def _work(self) -> None:
        started = time.thread_time()
        try:
            self.writer.commit(_joined(self._unwritten))
            self._unwritten.clear()
            self._waiting = 0
            self._error = None
            self.commits += 1
        except StoreError as error:
            self._failed(error)
        except Exception as error:  # noqa: BLE001 - of memory or of a library; `wait` raises it
            log.debug("where a commit ended", exc_info=True)
            self._failed(self._uncommitted(f"{type(error).__name__}: {error}"))
        self._last_cost = time.thread_time() - started
        self.seconds_spent += self._last_cost
        self._last_end = time.monotonic()

    def wait(self) -> None:
        """Wait until everything submitted is on disk.

        Raises:
            StoreError: it could not be written.
        """
        if self._thread is not None:
            self._thread.join()
        if self._error is None and self._unwritten:
            self._error = self._uncommitted("its thread ended early")
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Wait for the last commit; see `wait`."""
        self.wait()

    def _failed(self, error: StoreError) -> None:
        self._error = error
        log.warning("%s Trying again with the next commit.", error)

    def _uncommitted(self, why: str) -> StoreError:
        """Say in one sentence that a commit failed which no disk refused."""
        return StoreError(
            f"Rows cannot be committed to '{self.writer.cohort.path}' "
            f"({' '.join(why.split()).rstrip(':. ')[:300]}); free some memory where it ran short, "
            "then resume; what was committed is safe."
        )


def _joined(snapshots: list[Snapshot]) -> Snapshot:
    """Join snapshots that could not be written with the newest: all rows, the newest state."""
    if len(snapshots) == 1:
        return snapshots[0]
    rows: dict[str, dict[str, tuple[int, int, pa.Table]]] = {}
    for snapshot in snapshots:
        for name, tables in snapshot.rows.items():
            own = rows.setdefault(name, {})
            for table, (first, last, data) in tables.items():
                if table in own:
                    first, data = own[table][0], pa.concat_tables([own[table][2], data])
                own[table] = (first, last, data)
    return Snapshot(rows, snapshots[-1].tensors, snapshots[-1].meta)


def compact(run: RunDir, table: str, rows: int, everything: bool = False) -> int:
    """Merge runs of small part files of a table.

    Args:
        run: whose table.
        table: which.
        rows: rows a merged file should hold at least.
        everything: also merge what stays below that (when the run has ended).

    Returns:
        How many files were merged away; a disk that refuses costs nothing but speed, so it is
        tried again with the next commit.
    """
    try:
        return _compact(run, table, rows, everything)
    except (OSError, StoreError, pa.ArrowException) as error:
        log.warning("'%s' stays in small files (%s)", run.table_dir(table), error)
        return 0


def _compact(run: RunDir, table: str, rows: int, everything: bool) -> int:
    found, own = parts(run.table_dir(table)), id_of(run)
    kept = cover(found)
    for part in found:
        if part not in kept:
            part.path.unlink(missing_ok=True)
    if len(kept) < 2 or (not everything and len(kept) < 8):
        return 0
    merged, count = 0, 0
    group: list[Part] = []
    for part in kept:
        size = pq.read_metadata(part.path).num_rows
        if size >= rows:
            if everything:
                merged += _merge(table, group, own)
            group, count = [], 0
            continue
        group.append(part)
        count += size
        if count >= rows:
            merged += _merge(table, group, own)
            group, count = [], 0
    if everything:
        merged += _merge(table, group, own)
    return merged


def _typed(data: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return rows under today's schema; columns that an older file lacks are null."""
    arrays = [
        data.column(f.name).cast(f.type)
        if f.name in data.column_names
        else pa.nulls(data.num_rows, f.type)
        for f in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _merge(table: str, group: list[Part], own: str) -> int:
    """Write one file for a group of neighbours, then remove them."""
    if len(group) < 2:
        return 0
    folder = group[0].path.parent
    schema = schema_of(table)
    data = pa.concat_tables([_typed(read_checked(p.path, own), schema) for p in group])
    final = folder / part_name(group[0].first, group[-1].last)
    hidden = folder / f".merge-{final.name}"
    try:
        write_parquet(data.replace_schema_metadata(schema.metadata), hidden, own)
        sync_file(hidden)
        hidden.replace(final)
        sync_folder(folder)
    except OSError:
        with contextlib.suppress(OSError):
            hidden.unlink(missing_ok=True)
        raise
    for part in group:
        part.path.unlink(missing_ok=True)
    return len(group)
