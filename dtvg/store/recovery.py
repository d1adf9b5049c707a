"""Bringing files to the newest whole commit before training goes on.

Renames of the commit are finished, what lies beyond it is dropped. Rows and tensors are compared
with their digests; where the newest commit is damaged, the one before it counts, and that is said.
docs/run_files.md "Digests".
"""

from __future__ import annotations

import logging
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dtvg.errors import StoreError
from dtvg.records import TABLES
from dtvg.store.files import sync_file, sync_folder
from dtvg.store.layout import CohortDir, RunDir, id_of
from dtvg.store.reader import open_run
from dtvg.store.state_files import read_state, reveal
from dtvg.store.tables import (
    BY_STEP,
    cover,
    part_name,
    parts,
    read_checked,
    schema_of,
    write_parquet,
)

log = logging.getLogger(__name__)

FELL_BACK = "fell_back"
"""Under this key the numbers of a commit say why it is not the newest; also the event's kind."""

_OURS = re.compile(
    r"\.(part-\d+-\d+\.parquet|merge-part-\d+-\d+\.parquet|(?!tags)[\w.-]+\.[0-9a-f]{12}\.tmp"
    r"|(?!tags)[\w.-]+\.\d+\.tmp)"
)
"""Names of unfinished files that this program gives."""

Commit = tuple[dict[str, np.ndarray], dict[str, Any]]


def recover(cohort: CohortDir, runs: Mapping[str, RunDir]) -> Commit | None:
    """Bring the files to the newest whole commit: finish its renames, drop what lies beyond.

    Args:
        cohort: whose commit counts.
        runs: runs about to be resumed.

    Returns:
        Tensors and numbers of the commit; None before the first. A run whose rows are gone
        (it was deleted) is left out, so that it is trained again instead of going on without
        its history: every run in a commit has at least the event of its start.

    Raises:
        StoreError: no whole commit is left.
    """
    _clear(cohort.path)
    found, why = None, ""
    try:
        found = _newest(cohort, runs)
    except StoreError as error:
        why = str(error)
    else:
        _drop_beyond(runs, {} if found is None else found[1])
    if found is None and cohort.before_path.exists():
        try:
            found = _before(cohort, runs, why or f"'{cohort.state_path}' is missing")
        except StoreError as error:
            why = why or str(error)
    if found is None and why:
        raise StoreError(why)
    for run in runs.values():
        for folder in (run.path, run.prompts_dir, *(run.table_dir(table) for table in TABLES)):
            _clear(folder)
    if found is None:
        held = [run.path for run in runs.values() if has_rows(run)]
        if held:
            raise StoreError(
                f"The newest commit '{cohort.state_path}' is missing, though '{held[0]}' has rows "
                "that belong to it, so training cannot go on. Restore it from a copy, or move the "
                f"run away with `dtvg runs delete {held[0].parent.name}/{held[0].name}` to train "
                "it again."
            )
        for run in runs.values():
            start_over(run)
        return None
    return without(*found, [name for name, run in runs.items() if not has_rows(run)])


def _newest(cohort: CohortDir, runs: Mapping[str, RunDir]) -> Commit | None:
    """Return the newest commit, its files in place.

    Raises:
        StoreError: its state or its rows are damaged.
    """
    if not cohort.state_path.exists():
        return None
    tensors, content = read_state(cohort.state_path)
    root = cohort.path.parent.parent
    finals = [root / str(name) for name in content["pending"]]
    hidden = [(path.with_name(f".{path.name}"), path) for path in finals]
    reveal([(h, f) for h, f in hidden if _inside(root, h) and h.exists()])
    for name, run in runs.items():
        noted = content["meta"].get("runs", {}).get(name) or {}
        wanted = noted.get("rows")
        if has_rows(run):
            _check_owner(cohort.state_path, run, noted)
        if wanted is not None and has_rows(run):
            for table in TABLES:
                _check_rows(run, table, int(wanted.get(table, 0)))
    return tensors, content["meta"]


def _drop_beyond(runs: Mapping[str, RunDir], meta: Mapping[str, Any]) -> None:
    """Drop rows beyond the newest commit: a run was deleted, trained again, and then restored.

    Raises:
        StoreError: the disk refuses.
    """
    for name, run in runs.items():
        noted = meta.get("runs", {}).get(name) or {}
        if noted.get("rows") is None:
            continue
        for table in TABLES:
            wanted, found = int(noted["rows"].get(table, 0)), cover(parts(run.table_dir(table)))
            try:
                if sum(pq.read_metadata(part.path).num_rows for part in found) > wanted:
                    _cut(run, table, wanted, int(noted.get("step", 0)))
                    log.warning("'%s' had rows beyond its commit", run.table_dir(table))
            except (OSError, pa.ArrowException) as error:
                raise StoreError(
                    f"Rows of '{run.table_dir(table)}' beyond its newest commit cannot be removed "
                    f"({error}); free some space, then resume."
                ) from None


def _before(cohort: CohortDir, runs: Mapping[str, RunDir], why: str) -> Commit:
    """Go back to the commit before the newest.

    Raises:
        StoreError: it is damaged too.
    """
    tensors, content = read_state(cohort.before_path)
    meta = content["meta"]
    held = [name for name in runs if name in meta.get("runs", {}) and has_rows(runs[name])]
    if any(meta["runs"][name].get("rows") is None for name in held):
        raise StoreError(f"'{cohort.before_path}' was written before commits counted their rows.")
    kept = {
        name: (meta["runs"][name]["rows"], int(meta["runs"][name].get("step", 0))) for name in held
    }
    for name, (wanted, _) in kept.items():
        _check_owner(cohort.before_path, runs[name], meta["runs"][name])
        for table in TABLES:
            _check_rows(runs[name], table, int(wanted.get(table, 0)))
    link = cohort.path / f".{cohort.state_path.name}.{secrets.token_hex(6)}.tmp"
    try:
        for name, run in runs.items():
            for table in TABLES:
                wanted, step = kept.get(name, ({}, 0))
                _cut(run, table, int(wanted.get(table, 0)), step)
        os.link(cohort.before_path, link)
        os.replace(link, cohort.state_path)
        link.unlink(missing_ok=True)
        sync_folder(cohort.path)
    except OSError as error:
        raise StoreError(
            f"The commit before the newest cannot be put back in '{cohort.path}' "
            f"({error.strerror or error}); free some space, then resume."
        ) from None
    said = f"The newest commit was damaged, so the one before it counts: {why.partition('; ')[0]}."
    log.warning("%s", said)
    return tensors, {**meta, FELL_BACK: said}


def _check_owner(path: Path, run: RunDir, noted: Mapping[str, Any]) -> None:
    """Refuse a commit of another experiment's run of the same name.

    Raises:
        StoreError: it is one.
    """
    own, owner = id_of(run), noted.get("run_id")
    if own and owner and own != owner:
        raise StoreError(
            f"'{path}' is the commit of another run named '{run.name}', so it is not gone on "
            "with. Restore it from a copy, or move the run away with `dtvg runs delete "
            f"{run.path.parent.name}/{run.name}` to train it again."
        )


def _check_rows(run: RunDir, table: str, wanted: int) -> None:
    """Read the first rows of a table and compare them with their digests.

    Raises:
        StoreError: some are missing or damaged.
    """
    have, last, own = 0, 0, id_of(run)
    for part in cover(parts(run.table_dir(table))):
        if have >= wanted:
            return
        if part.first != last + 1 and not _left_out(run, table, last + 1, part.first - 1):
            break
        try:
            have, last = have + read_checked(part.path, own).num_rows, part.last
        except FileNotFoundError:
            break
    if have < wanted:
        raise StoreError(
            f"'{run.table_dir(table)}' has {have} of {wanted} committed rows; a file of it was "
            "deleted or replaced. Restore it from a copy, or move the run away with `dtvg runs "
            f"delete {run.path.parent.name}/{run.name}` to train it again."
        )


def _left_out(run: RunDir, table: str, first: int, last: int) -> bool:
    """Whether a run keeps no row of these steps; forks once named their first part without them."""
    config = open_run(run.path).config if table in BY_STEP and first <= last else None
    if config is None or not config.logging.gaps:
        return False
    return not any(config.logging.logs_step(step) for step in range(first, last + 1))


def _cut(run: RunDir, table: str, rows: int, step: int) -> None:
    """Keep the first rows of a table.

    Args:
        run: whose.
        table: which.
        rows: that were committed.
        step: up to which they were; a thinned log has no row of most steps.
    """
    have, by_step, found = 0, table in BY_STEP, parts(run.table_dir(table))
    kept = [] if rows == 0 else cover(found)
    for part in found:
        beyond = part not in kept  # also what a merge left, which would be seen again
        if beyond or (part.first > step if by_step else have >= rows):
            part.path.unlink(missing_ok=True)
            continue
        data = read_checked(part.path)
        left = rows - have
        have += data.num_rows
        if part.last <= step if by_step else data.num_rows <= left:
            continue
        head = pa.Table.from_arrays(data.slice(0, left).columns, schema=schema_of(table))
        last = step if by_step else part.first + left - 1
        hidden = part.path.with_name(f".{part_name(part.first, last)}")
        write_parquet(head, hidden, id_of(run))
        sync_file(hidden)
        hidden.replace(part.path.with_name(part_name(part.first, last)))
        part.path.unlink(missing_ok=True)


def _inside(root: Path, path: Path) -> bool:
    """Whether a file lies in an experiment's real folder, not behind a link."""
    return path.parent.resolve() == root.resolve() / path.parent.relative_to(root)


def _clear(folder: Path) -> None:
    """Remove unfinished files that we made; nothing through a link, nothing of others."""
    if folder.is_symlink() or folder.parent.is_symlink() or not folder.is_dir():
        return
    for path in folder.glob(".*"):
        if _OURS.fullmatch(path.name) and not path.is_symlink() and path.is_file():
            path.unlink(missing_ok=True)


def has_rows(run: RunDir) -> bool:
    """Whether any row of a run is there."""
    return any(parts(run.table_dir(table)) for table in TABLES)


def start_over(run: RunDir) -> None:
    """Remove what a run wrote, so that it can be trained from its first step again."""
    for path in (run.result_path, run.digests_path):
        path.unlink(missing_ok=True)
    for table in TABLES:
        for part in parts(run.table_dir(table)):
            part.path.unlink(missing_ok=True)
    for which in ("best", "final"):
        (run.prompts_dir / f"{which}.safetensors").unlink(missing_ok=True)


def without(
    tensors: Mapping[str, np.ndarray], meta: Mapping[str, Any], gone: Sequence[str]
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return a commit's tensors and numbers without some of its runs."""
    kept = {k: v for k, v in tensors.items() if k.partition("/")[0] not in gone}
    runs = {name: its for name, its in meta.get("runs", {}).items() if name not in gone}
    return kept, {**meta, "runs": runs}
