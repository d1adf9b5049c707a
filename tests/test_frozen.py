"""What an earlier version wrote still opens, resumes and reads the same (`golden/frozen`)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from safetensors.numpy import load_file

from dtvg import api
from dtvg.analysis import titles
from dtvg.cli import main as command
from dtvg.config import build_config
from dtvg.config.sections import OPEN
from dtvg.tasks.families.demo import SHOTS

from . import frozen_views as views

FROZEN = Path(__file__).parent / "golden" / "frozen"
EXPECTED = FROZEN / "expected"
TOLERANCE = 1e-6
"""Of what is read and computed again from the log."""
DRIFT = 1e-5
"""Of float32 training between processors; on an equal machine the bits are equal."""


REJUDGED = (
    *("p", "p_holm", "p_examples_holm", "verdict", "verdict_runs"),
    *("seeds_needed", "seeds_attainable"),
)
"""Of a comparison: what follows from the choice of test and family, which is another one now.

Differences, intervals and the p of every single test are what they were; the right values of
these are recomputed in analysis/test_recorded_verdicts.py."""


ROUNDING_CHOSE = {"rte.surrogate-samples2.s0": "rte.surrogate-samples2-of-none.s0"}
"""Runs that took sources because of the rounding of one processor, and the run that each now is.

All five trials scored 50 %, and a coefficient of 2e-16 was above a threshold of 0."""


def expected(name: str) -> Any:
    read = json.loads((EXPECTED / f"{name}.json").read_text(encoding="utf-8"))
    return without_judgement(read) if name == "compared" else read


def without_judgement(value: Any) -> Any:
    """Return what was compared, rows of verdicts without what is judged otherwise now.

    The former p was the larger of sign flips and resampling: it must still follow.
    """
    if isinstance(value, list):
        return [without_judgement(one) for one in value]
    if not isinstance(value, dict):
        return value
    if "verdict" not in value:
        return {key: without_judgement(one) for key, one in value.items()}
    known = [value[k] for k in ("p_seeds", "p_both") if isinstance(value[k], float)]
    if known:
        assert value["p"] == max(known)
    return {key: one for key, one in value.items() if key not in REJUDGED}


def differences(frozen: Any, now: Any, place: str = "") -> Iterator[str]:
    """What of the frozen values is another one now; what came since is no difference."""
    if isinstance(frozen, dict) and isinstance(now, dict):
        for key in frozen:
            if key not in now:
                yield f"{place}/{key} is gone"
            else:
                yield from differences(frozen[key], now[key], f"{place}/{key}")
    elif place.endswith("/set") and isinstance(frozen, str) and isinstance(now, str):
        yield from differences(yaml.safe_load(frozen), yaml.safe_load(now), place + ":")
    elif isinstance(frozen, list) and isinstance(now, list) and len(frozen) == len(now):
        for i, (left, right) in enumerate(zip(frozen, now, strict=True)):
            yield from differences(left, right, f"{place}/{i}")
    elif isinstance(frozen, float) and isinstance(now, float):
        if now != pytest.approx(frozen, rel=TOLERANCE, abs=1e-9):
            yield f"{place}: {frozen} then, {now} now"
    elif type(frozen) is not type(now) or frozen != now:
        yield f"{place}: {frozen!r} then, {now!r} now"


@pytest.fixture
def home(tmp_path: Path, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return views.copy_home(FROZEN, tmp_path, monkeypatch)


@pytest.mark.parametrize("name", ["recorded", "compared", "decided"])
def test_what_is_read_from_the_frozen_files_is_what_was_read_then(home: Path, name: str) -> None:
    now = json.loads(json.dumps(views.VIEWS[name](home)))
    assert list(differences(expected(name), now)) == []


@pytest.mark.parametrize("name", ["finished", "stopped"])
def test_settings_and_rows_are_those_in_the_files(home: Path, name: str) -> None:
    for run in api.open_experiment(home / "runs" / name).runs:
        stored = yaml.safe_load((run.view.path / "config.yaml").read_text())
        assert list(differences(stored, run.view.config.model_dump(mode="json"))) == []
        for table in views.TABLES:
            parts = sorted((run.view.path / table).glob("part-*.parquet"))
            if parts:
                written = pd.concat([pq.read_table(p).to_pandas() for p in parts])
                _same_rows(written, run.table(table), exact=True)


def test_yaml_files_mean_what_they_meant(home: Path) -> None:
    then = expected("configured")
    demo = then["presets"]["demo"]
    now = json.loads(json.dumps(views.configured(home, demo)))
    if _keys(now["overridden"]["settings"]) != _keys(then["overridden"]["settings"]):
        now["overridden"]["fingerprint"] = then["overridden"]["fingerprint"]
    for name, frozen in then["files"].items():
        # a fingerprint is that of the same settings only: new ones came with their defaults
        if now["files"][name]["settings"].keys() != frozen["settings"].keys() or any(
            _keys(now["files"][name]["settings"][k]) != _keys(v)
            for k, v in frozen["settings"].items()
        ):
            now["files"][name]["fingerprint"] = frozen["fingerprint"]
        assert (
            build_config(frozen["settings"]).model_dump(mode="json")
            == (now["files"][name]["settings"])
        )
    assert list(differences(then, now)) == []


def _keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _keys(inner) for key, inner in value.items()}
    return [_keys(v) for v in value] if isinstance(value, list) else None


def with_open_rates(frozen: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """A form of before every method had rates of its own, with those left open that are now;
    the runs it stands for must have the rates they had."""
    left = {name for name in OPEN if now["optim"].get(name, 0) is None}
    runs = zip(build_config(frozen).runs(), build_config(now).runs(), strict=True)
    assert [a.name for a, b in runs if a.optim.model_dump() != b.optim.model_dump()] == []
    return {**frozen, "optim": {**frozen["optim"], **dict.fromkeys(left)}}


def _addresses() -> list[tuple[str, str]]:
    given = json.loads((FROZEN / "addresses.json").read_text(encoding="utf-8"))
    return [(entry["page"], entry["query"]) for entry in given]


@pytest.mark.parametrize("page", sorted({page for page, _ in _addresses()}))
def test_page_addresses_open_what_they_opened(home: Path, page: str) -> None:
    then = expected("addresses")
    for query in (query for name, query in _addresses() if name == page):
        frozen = then[f"{page}?{query}"]
        now = json.loads(json.dumps(views.opened(page, query, tuple(frozen["chosen"]))))
        if "gone" in query:  # said, and nothing else is shown in its place, since addresses stay
            assert now["address"] == {"experiment": "gone", "run": "gone"} and not now["charts"]
            continue
        if "step=999" in query:  # a step that is not recorded stays too, without a decision
            assert now["address"].pop("step") == "999" and not now["charts"]
            continue
        if page in ("overview", "share"):  # which show more, and names that are links
            _shows_more(frozen, now)
        if page == "explain":  # a path too; rules in one table, opened on the run's own
            frozen["charts"] += 1
            if "rule=" not in query:
                frozen["chosen"]["rule"] = "greedy"
        # constant defaults and what other pages wrote no longer stand in an address
        shorter = {k: v for k, v in now["address"].items() if k != "set"}
        assert shorter.items() <= frozen["address"].items(), (page, query)
        left = {k: v for k, v in frozen["address"].items() if k in now["address"]}
        frozen = {**frozen, "address": left}
        if (
            page == "launch" and now["address"].get("preset", "demo") == "demo"
        ):  # which has few rows of its targets now
            frozen["form"]["data"]["few_shot"] = SHOTS
        if "form" in now:
            frozen = {**frozen, "form": with_open_rates(frozen["form"], now["form"])}
        assert "\n".join(differences(frozen, now)) == "", (page, query)


def _shows_more(frozen: dict[str, Any], now: dict[str, Any]) -> None:
    """Take what was listed and offered then out of what is now."""
    frozen["charts"] = now["charts"]
    for key in ("columns", "views"):
        if key in frozen["chosen"]:
            then = frozen["chosen"][key]
            now["chosen"][key] = [one for one in now["chosen"][key] if one in then]
    if "listed" in now:
        link = r"run\?experiment=[^&]*&(called=[^&]*&)?run="
        now["listed"] = [re.sub(link, "", row) for row in now["listed"]]
        frozen["listed"] = [_with_titles(row) for row in frozen["listed"]]


def _with_titles(row: str) -> str:
    """Return a row of runs over seeds as it is shown now: target and method by their titles."""
    parts = row.split("/")
    if len(parts) != 3:
        return row
    return "/".join([parts[0], titles.task(parts[1]), titles.method(parts[2])])


def test_the_stopped_experiment_ends_with_the_numbers_it_would_have_had(home: Path) -> None:
    stages = {path.name for path in (home / "prompts").iterdir()}
    assert command(["runs", "resume", "stopped", "--quiet"]) == 0
    assert {path.name for path in (home / "prompts").iterdir()} == stages, "tuned again"
    assert command(["runs", "verify", "stopped"]) == 0
    exact = views.machine() == expected("machine")
    experiment = api.open_experiment(home / "runs" / "stopped")
    frozen = {t: pq.read_table(EXPECTED / "unbroken" / f"{t}.parquet") for t in views.TABLES}
    names = set(frozen["steps"].column("run").to_pylist())
    assert names == {r.view.name for r in experiment.runs if r.view.role == "transfer"}
    for name in sorted(names):
        run = experiment.run(name)
        assert run.view.state.value == "finished", (name, run.view.message)
        for table in ("steps", "sources", "evals", "predictions"):
            then = ROUNDING_CHOSE.get(name, name)
            rows = frozen[table].filter(pc.equal(frozen[table]["run"], then)).to_pandas()
            rows = rows.drop(columns="run")
            _same_rows(rows, run.table(table), exact)
        _same_prompts(run.view.path / "prompts", ROUNDING_CHOSE.get(name, name), exact)
    events = experiment.run("rte.dtvg.s0").table("events")["kind"].tolist()
    assert events.count("started") == 1 and "resumed" in events


def _same_rows(frozen: pd.DataFrame, now: pd.DataFrame, exact: bool) -> None:
    """Compare the columns there were; times and memory are nobody's promise."""
    columns = [c for c in frozen.columns if c not in views.MEASURED]
    left, right = frozen[columns].reset_index(drop=True), now[columns].reset_index(drop=True)
    how = {"check_exact": True} if exact else {"rtol": DRIFT, "atol": DRIFT}
    pd.testing.assert_frame_equal(left, right, **how)


def _same_prompts(folder: Path, run: str, exact: bool) -> None:
    frozen = load_file(EXPECTED / "unbroken" / "prompts.safetensors")
    for which in ("best", "final"):
        now = load_file(folder / f"{which}.safetensors")
        prefix = f"{run}/{which}/"
        then = {k.removeprefix(prefix): v for k, v in frozen.items() if k.startswith(prefix)}
        assert then.keys() <= now.keys() and then
        for key, value in then.items():
            close = 0.0 if exact else DRIFT
            np.testing.assert_allclose(
                now[key], value, rtol=close, atol=close, err_msg=prefix + key
            )
