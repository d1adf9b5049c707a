"""Checking a run's folder against the log's specification: what is wrong, sentence by sentence.

The decisions are replayed: `decide` on each logged Gram matrix must give the logged
similarity, rank, candidates, consistency and members. docs/run_files.md.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel

from dtvg.config import RunConfig
from dtvg.errors import StoreError
from dtvg.records import TABLES, RunState
from dtvg.rule.arrays import consistency_of
from dtvg.rule.decide import decide_steps
from dtvg.rule.memory import needs_every_step
from dtvg.rule.types import Grouping
from dtvg.store import digests
from dtvg.store.cohorts import visible_parts
from dtvg.store.files import read_json
from dtvg.store.formats import (
    DigestsFile,
    PlanFile,
    ProcessFile,
    ProvenanceFile,
    SettingsDigests,
    VersionsFile,
    read_whole,
)
from dtvg.store.holds import history, overlay
from dtvg.store.labels import check_file
from dtvg.store.layout import ExperimentDir, RunDir, id_of
from dtvg.store.reader import Run, open_run, read_grams, read_prompts, read_table
from dtvg.store.shares import noted_shares, shares_in_log
from dtvg.store.state_files import kept_prompts
from dtvg.store.tables import cover, has_digest, parts, read_checked, schema_of, schema_version

TOLERANCE = 1e-6


def verify_run(path: Path | str) -> list[str]:
    """Check one run's folder.

    Args:
        path: the run's folder.

    Returns:
        One sentence per problem, with file and row; empty if all is as specified.
    """
    run = open_run(path)
    if run.problem is not None:
        return [f"{run.path}: {run.problem}."]
    config = run.config
    if config is None:
        return [f"{run.config_problem}."]
    problems: list[str] = [*check_file(run.path), *_check_written(run)]
    for table in TABLES:
        problems += _check_files(run.directory, table)
    if problems:
        return problems
    try:
        problems += _check_steps(run, config)
        problems += _check_sources(run, config)
        problems += _check_end(run)
        problems += _check_predictions(run)
    except StoreError as error:
        problems.append(str(error))
    return problems


def written_before_digests(path: Path | str) -> bool:
    """Whether files of a run were written before files carried digests."""
    run = RunDir(Path(path))
    if run.result_path.exists() and not run.digests_path.exists():
        return True
    return any(not has_digest(p.path) for table in TABLES for p in parts(run.table_dir(table)))


def _check_written(run: Run) -> list[str]:
    """Compare settings, prompts and the result with what was noted when they were written."""
    problems = _check_json(run)
    if problems:
        return problems
    noted = read_whole(run.directory.provenance_path, ProvenanceFile, "")
    digest = None if noted is None else noted.config_sha256
    if digest is not None and digest != digests.of_file(run.directory.config_path):
        problems.append(f"{run.directory.config_path} was changed after the run was made.")
    for path in sorted(run.directory.prompts_dir.glob("*.safetensors")):
        try:
            read_prompts(run, path.stem)
        except StoreError as error:
            problems.append(str(error))
    path = run.path.parent / "experiment.yaml"
    whole = read_whole(ExperimentDir(path.parent).digests_path, SettingsDigests, "")
    if whole is not None and whole.root.get(path.name) != digests.of_file(path):
        problems.append(f"{path} was changed after the experiment was made.")
    return problems + _check_noted(run)


def _check_json(run: Run) -> list[str]:
    """Check that the JSON files of a run and of its experiment hold what they should."""
    experiment = ExperimentDir(run.path.parent)
    wanted: list[tuple[Path, type[BaseModel]]] = [
        (run.directory.provenance_path, ProvenanceFile),
        (run.directory.digests_path, DigestsFile),
        (experiment.versions_path, VersionsFile),
        (experiment.digests_path, SettingsDigests),
        (experiment.plan_path, PlanFile),
        *((c.process_path, ProcessFile) for c in experiment.cohorts() if c.id == run.cohort),
    ]
    problems = []
    for path, model in wanted:
        try:
            read_whole(path, model, "")
        except StoreError as error:
            problems.append(str(error).strip())
    return problems


def _check_noted(run: Run) -> list[str]:
    """Compare a finished run with what was noted just before its result was written."""
    problems = []
    result = read_json(run.directory.result_path)
    noted = read_json(run.directory.digests_path)
    if result is None or noted is None:
        return []
    if not digests.is_whole(noted):
        return [f"{run.directory.digests_path} is damaged: its content differs from its digest."]
    if noted.get("result") != digests.of_json(result):
        problems.append(
            f"{run.directory.result_path} was changed: its content differs from its digest."
        )
    for which, digest in (noted.get("prompts") or {}).items():
        path = run.directory.prompts_dir / f"{which}.safetensors"
        if os.path.exists(path) and digests.noted_in(path) != digest:
            problems.append(f"{path} is not the file that the run wrote.")
    for table in TABLES:
        with contextlib.suppress(StoreError):  # told with its file
            rows, count = read_table(run, table, ["step"]).num_rows, noted["rows"].get(table, 0)
            if rows != count:
                problems.append(f"{run.path}/{table}: {rows} rows, but {count} were written.")
    return problems


def _check_files(run: RunDir, table: str) -> list[str]:
    """Check schemas and nulls of every part file, and that no two claim the same rows."""
    problems = []
    found, own = visible_parts(run, table), id_of(run)
    wanted = schema_of(table)
    for part in found:
        try:
            data = read_checked(part.path, own)
        except StoreError as error:
            problems.append(str(error))
            continue
        except FileNotFoundError:
            continue  # merged with others in this moment
        schema = data.schema
        version = schema_version(schema)
        for column, field in zip(TABLES[table], wanted, strict=True):
            place = schema.get_field_index(field.name)
            if place < 0 and column.since > version:
                continue  # the file is older than the column
            if place < 0:
                problems.append(f"{part.path} has no column '{field.name}'.")
            elif schema.field(place).type != field.type:
                problems.append(
                    f"{part.path}: column '{field.name}' is {schema.field(place).type}, not "
                    f"{field.type}."
                )
        for field in wanted:
            if not field.nullable and field.name in data.column_names:
                nulls = data.column(field.name).null_count
                if nulls:
                    problems.append(f"{part.path}: column '{field.name}' has {nulls} nulls.")
    covered = cover(found)
    for before, after in zip(covered, covered[1:], strict=False):
        if after.first <= before.last:
            problems.append(f"{after.path} overlaps {before.path.name}.")
    return problems


def _check_steps(run: Run, config: RunConfig) -> list[str]:
    """Check that each step stands once, from 1 on, and that decisions replay."""
    data = read_table(run, "steps")
    steps = data.column("step").to_numpy()
    wanted = _logged_steps(config, int(steps.max(initial=0)))
    if not np.array_equal(steps, wanted):
        places = range(len(steps))
        wrong = next((i for i in places if i >= len(wanted) or steps[i] != wanted[i]), 0)
        right = wanted[wrong] if wrong < len(wanted) else "none"
        return [f"{run.path}/steps: row {wrong + 1} holds step {steps[wrong]}, not {right}."]
    grouped = config.logs_sources and config.role == "transfer"
    nulls = data.column("gram").null_count
    if not grouped:
        return (
            []
            if nulls == len(steps)
            else [
                f"{run.path}/steps: method '{config.method.name}' groups nothing, but a Gram "
                "matrix is logged."
            ]
        )
    if config.method.ranks_prompts and nulls == len(steps):
        return []  # written before source prompts were ranked while tuning
    if nulls:
        return [f"{run.path}/steps: {nulls} steps have no Gram matrix."]
    m = len(config.sources) + 1
    lengths = set(data.column("gram").combine_chunks().value_lengths().to_pylist())
    if lengths - {m * (m + 1) // 2}:
        return [
            f"{run.path}/steps: Gram matrices of {sorted(lengths)} values; {len(config.sources)}"
            f" sources make {m * (m + 1) // 2}."
        ]
    return _check_replay(run, config, data)


def _logged_steps(config: RunConfig, last: int) -> np.ndarray:
    """Return the steps up to `last` whose rows the run keeps."""
    logged = [s for s in range(1, last + 1) if config.logging.logs_step(s)]
    return np.array(logged, dtype=np.int64)


def _check_replay(run: Run, config: RunConfig, data: pa.Table) -> list[str]:
    """Decide again on the logged Gram matrices and compare every logged number."""
    if not data.num_rows:
        return []
    last = data.column("step")[-1].as_py()  # a run that trains may commit between two reads
    steps, grams = read_grams(run, last=last)
    settings = config.rule_settings
    if config.logging.gaps and needs_every_step(settings):
        return []  # the group may have changed at a step that was not kept
    again = decide_steps(grams, steps, settings, seed=config.seed)
    member = overlay(np.asarray(again.member), steps, config.sources, history(run))
    sources = read_table(run, "sources", last=last)
    n = len(config.sources)
    if sources.num_rows != n * len(steps):
        return [
            f"{run.path}/sources: {sources.num_rows} rows; {len(steps)} steps of {n} sources "
            f"make {n * len(steps)}."
        ]
    if config.method.soft:
        return _check_weights(run, data, sources, again)
    rank = np.asarray(again.rank)
    candidate = rank < np.asarray(again.n_candidates)[:, None]
    prefix = np.take_along_axis(np.asarray(again.consistency_by_prefix), rank, axis=-1)
    expected: list[tuple[str, Any, Any]] = [
        ("sources/rank", _column(sources, "rank", n), rank),
        ("sources/candidate", _column(sources, "candidate", n), candidate),
        ("sources/member", _column(sources, "member", n), member),
        ("sources/similarity", _column(sources, "similarity", n), np.asarray(again.similarity)),
        (
            "sources/consistency",
            np.nan_to_num(_column(sources, "consistency", n)),
            np.where(candidate, prefix, 0.0),
        ),
        ("steps/n_candidates", data.column("n_candidates").to_numpy(), again.n_candidates),
        ("steps/group_size", data.column("group_size").to_numpy(), member.sum(-1)),
        (
            "steps/consistency",
            data.column("consistency").to_numpy(),
            consistency_of(grams, member, settings.measure),
        ),
    ]
    return _differences(run, steps, expected)


def _check_weights(
    run: Run, data: pa.Table, sources: pa.Table, again: Grouping[np.ndarray]
) -> list[str]:
    """Check a method that weighs its sources: members are what has weight, ranks replay."""
    steps, n = data.column("step").to_numpy(), again.rank.shape[-1]
    member = _column(sources, "weight", n) > 0
    problems = []
    for name, column in (
        ("sources/candidate", sources.column("candidate")),
        ("steps/n_candidates", data.column("n_candidates")),
    ):
        if column.null_count != len(column):
            problems.append(f"{run.path}/{name}: a method that weighs sources has no candidates.")
    expected = [
        ("sources/rank", _column(sources, "rank", n), again.rank),
        ("sources/member", _column(sources, "member", n), member),
        ("sources/similarity", _column(sources, "similarity", n), again.similarity),
        ("steps/group_size", data.column("group_size").to_numpy(), member.sum(-1)),
        (
            "steps/consistency",
            data.column("consistency").to_numpy(),
            consistency_of(again.gram, member, again.settings.measure),
        ),
    ]
    return problems + _differences(run, steps, expected)


def _differences(run: Run, steps: np.ndarray, expected: list[tuple[str, Any, Any]]) -> list[str]:
    """Compare logged with computed values; one sentence per column that differs."""
    problems = []
    for name, logged, made in expected:
        made = np.asarray(made)
        if made.dtype.kind == "f":
            close = np.abs(logged - made) <= TOLERANCE * np.maximum(1.0, np.abs(made))
        else:
            close = logged == made
        if not close.all():
            step = int(steps[np.argwhere(~close)[0][0]])
            problems.append(
                f"{run.path}/{name}: {int((~close).sum())} values differ from what "
                f"the rule gives on the logged Gram matrix, first at step {step}."
            )
    return problems


def _column(data: pa.Table, name: str, n: int) -> np.ndarray:
    values = data.column(name).to_numpy(zero_copy_only=False)
    if values.dtype == object:
        values = np.array([np.nan if v is None else v for v in values], dtype=float)
    return np.asarray(values).reshape(-1, n)


def _check_sources(run: Run, config: RunConfig) -> list[str]:
    """Check that sources stand in their own order at every step."""
    data = read_table(run, "sources", ["step", "source"])
    if not data.num_rows:
        return []
    names = list(config.sources)
    wanted = names * (data.num_rows // max(1, len(names)))
    if data.column("source").to_pylist() != wanted:
        return [f"{run.path}/sources: rows are not {', '.join(names)} at every step."]
    noted = noted_shares(run)
    if noted is not None and noted != shares_in_log(run):
        return [f"{run.path}/result.json: shares are not those of its table of sources."]
    steps = data.column("step").to_numpy().reshape(-1, len(names))
    wanted = _logged_steps(config, int(steps.max()))
    if len(steps) != len(wanted):
        return [f"{run.path}/sources: rows of {len(steps)} steps, not of {len(wanted)}."]
    wrong = np.flatnonzero((steps != wanted[:, None]).any(-1))
    if len(wrong):
        step = int(wanted[wrong[0]])
        return [f"{run.path}/sources: step {step} does not have one row per source."]
    return []


def _check_end(run: Run) -> list[str]:
    """Check that a result is there if and only if the run finished, with its evaluations."""
    problems = []
    if run.state is RunState.FINISHED and run.result is None:
        problems.append(f"{run.path}: finished without result.json.")
    if run.result is None:
        return problems
    rows = read_table(run, "steps", ["step"]).num_rows
    config = run.config
    count = run.result.steps if config is None else len(_logged_steps(config, run.result.steps))
    if rows != count:
        said = f"result.json says {run.result.steps}"
        if count != run.result.steps:
            said += f" of which {count} are kept"
        problems.append(f"{run.path}/steps: {rows} rows, but {said}.")
    for which in kept_prompts("full" if config is None else config.logging.detail):
        if not os.path.exists(run.directory.prompts_dir / f"{which}.safetensors"):
            problems.append(f"{run.path}/prompts: no {which}.safetensors.")
    evals = read_table(run, "evals").to_pandas()
    scores = evals[
        (evals["metric"] == "score")
        & (evals["split"] == "validation")
        & (evals["task"] == run.target)
    ]
    if scores["step"].duplicated().any():
        problems.append(f"{run.path}/evals: a step is evaluated twice.")
    at_best = int((scores["value"] == scores["value"].max()).sum())
    if run.result.at_best not in (None, at_best):
        problems.append(
            f"{run.path}/result.json: at_best is {run.result.at_best}, but {at_best} of evals "
            "reached the best score."
        )
    if config is not None and not config.evaluation.count_start and config.breaks_ties:
        scores = scores[scores["step"] > 0]
    if len(scores) and abs(scores["value"].max() - run.result.validation_score) > 1e-9:
        problems.append(f"{run.path}/result.json: validation_score is not the best of evals.")
    return problems


def _check_predictions(run: Run) -> list[str]:
    """Check that each example is answered once at a time, and what test answers belong to."""
    data = read_table(run, "predictions").to_pandas()
    problems = []
    twice = data.duplicated(["step", "split", "task", "row"])
    if twice.any():
        row = data[twice].iloc[0]
        problems.append(
            f"{run.path}/predictions: row {row['row']} of {row['task']} {row['split']} is answered "
            f"twice at step {row['step']}."
        )
    if not data["value"].between(0, 1).all():
        problems.append(f"{run.path}/predictions: a value lies outside 0..1.")
    test = data[data["split"] == "test"]
    if run.result is not None and (test["step"] != run.result.best_step).any():
        problems.append(
            f"{run.path}/predictions: test answers are not of the best step {run.result.best_step}."
        )
    return problems
