"""What is read from the frozen fixtures, as plain values: the same for their maker and the test.

Entry points that people use (command line, `dtvg.api`, pages by address) wherever they say
enough, so that the views outlive moves inside the package.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pandas as pd
import pytest
import yaml

from dtvg import api, paths
from dtvg.cli import main as command
from dtvg.config import DataConfig, build_config, load_config
from dtvg.config.grid import expand, parse
from dtvg.config.presets import PRESETS
from dtvg.plan import plan
from dtvg.store.bank import PromptBank
from dtvg.store.provenance import provenance
from dtvg.tasks.catalogue import find_task
from dtvg.tasks.reading import load_task
from tests.pages.charts import charts

ROOT = Path(__file__).resolve().parents[1]
TABLES = ("steps", "sources", "evals", "events", "predictions")
MEASURED = ("seconds", "step_ms", "device_mem_gib", "seconds_alone", "peak_mem_gib")
"""Columns of times and memory, which no second run repeats."""
OVERRIDES = [
    "optim.steps=300",
    "backbone.dropout=0.1",
    "targets=[cb, rte]",
    "seeds=[4]",
    "data.folder=some/folder",
    "optim.lr_prompt=1e-3",
]


def copy_home(frozen: Path, to: Path, patch: pytest.MonkeyPatch) -> Path:
    """Lay the fixtures out as a home of their own, and make its folder the working directory.

    Backbone and data are named relative to the working directory in the stored
    configurations (`parts/backbone`, `parts/data`), which is how a run folder can be moved.
    """
    home = to / "home"
    shutil.copytree(frozen / "runs", home / "runs")
    shutil.copytree(frozen / "bank", home / "prompts")
    shutil.copytree(frozen / "tasks", home / "tasks")
    shutil.copytree(frozen / "parts", to / "parts")
    shutil.copytree(frozen / "yaml", to / "yaml")
    patch.setattr(paths, "examples", lambda: frozen / "examples")
    for place, name in enumerate(("stopped", "finished")):  # the newest is listed first
        os.utime(home / "runs" / name, (1_700_000_000 + place,) * 2)
    patch.setenv("DTVG_HOME", str(home))
    patch.setenv("HF_HUB_OFFLINE", "1")
    patch.chdir(to)
    return home


def machine() -> dict[str, str]:
    """Return what decides about the last bits of a result on the CPU."""
    import torch

    return {
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "processor": provenance()["processor"],
    }


def plain(value: Any) -> Any:
    """Return a value as JSON holds it; what is no number becomes None or text."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        number = float(value)
        return number if math.isfinite(number) else str(number)
    return value if isinstance(value, str) or value is None else str(value)


def rows(frame: pd.DataFrame, without: tuple[str, ...] = MEASURED) -> list[Any]:
    """Return a table as rows of plain values, without what is measured."""
    kept = frame.drop(columns=[c for c in without if c in frame.columns])
    return [plain(row) for row in kept.to_dict("records")]


def digest(content: Any) -> str:
    """Return 16 hex digits of plain values."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def told(*arguments: str) -> list[Any]:
    """Return a command's exit status and nothing of what it prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        return [" ".join(arguments), command(list(arguments))]


def recorded(home: Path) -> dict[str, Any]:
    """Every run with its state, settings and result; the bank; what verifying says."""
    found: dict[str, Any] = {}
    for name in ("finished", "stopped"):
        for run in api.open_experiment(home / "runs" / name).runs:
            view = run.view
            result = None if view.result is None else dict(view.result.__dict__)
            found[f"{name}/{view.name}"] = {
                "role": view.role,
                "state": view.state.value,
                "step": view.step,
                "target": view.target,
                "method": view.method,
                "seed": view.seed,
                "sources": plain(view.sources),
                "result": plain({k: v for k, v in (result or {}).items() if k != "seconds"}),
                "rows": {table: len(run.table(table)) for table in TABLES},
            }
    bank = [
        [p.task, p.seed, p.fingerprint, p.init_fingerprint, float(np.linalg.norm(p.vector))]
        for p in PromptBank().list()
    ]
    commands = [
        told("runs", "verify", "finished"),
        told("runs", "verify", "stopped"),
        told("prompts", "verify"),
        told("runs", "list", "--all"),
        told("runs", "show", "finished/rte.dtvg.s0"),
        told("runs", "compare", "finished", "--format", "csv"),
    ]
    return {"runs": found, "bank": sorted(bank), "commands": commands}


def compared(home: Path) -> dict[str, Any]:
    """The tables of the comparison, on both splits; those of the recorded example, too."""
    experiment = api.open_experiment(home / "runs" / "finished")
    found: dict[str, Any] = {"costs": rows(experiment.costs())}
    for split in ("test", "validation"):
        found[split] = {
            "scores": rows(experiment.scores(split)),
            "verdicts": rows(experiment.verdicts(split)),
            "against all_sources": rows(experiment.verdicts(split, "all_sources")),
            "ranks": rows(experiment.ranks(split)),
            "profile": rows(experiment.profile(split)),
        }
    shipped = api.open_experiment(paths.examples() / "demo-recorded")
    found["recorded example"] = {
        "scores": rows(shipped.scores()),
        "verdicts": rows(shipped.verdicts()),
        "ranks": rows(shipped.ranks()),
        "costs": rows(shipped.costs()),
    }
    return found


def decided(home: Path) -> dict[str, Any]:
    """Decisions explained (numbers, not the sentences) and decided again from the log."""
    from dtvg.analysis.run.replay import replay

    found: dict[str, Any] = {}
    variants: list[tuple[dict[str, Any], tuple[str, ...]]] = [
        ({}, ()),
        ({"rule": "exact", "consistency_weight": 0.5}, ()),
        ({"rule": "similarity_only", "measure": "cosine"}, ()),
        ({"threshold": 0.02, "regroup_every": 3}, ("mrpc",)),
    ]
    for place in ("finished/rte.dtvg.s0", "finished/rte.dtvg.s1", "stopped/rte.dtvg.s0"):
        run = api.open_run(home / "runs" / place)
        last = len(run.table("steps"))
        explained = {str(s): rows(run.explain(s), ("why",)) for s in (1, 5, last // 2, last)}
        again = {}
        for settings, out in variants:
            info = replay(run.view, leave_out=out, **settings)
            again[json.dumps([settings, out])] = {
                "agreement": plain(info.agreement),
                "jaccard": plain(info.mean_jaccard),
                "groups": ["".join("01"[int(m)] for m in row) for row in info.replayed],
                "consistency": plain(info.consistency),
            }
        found[place] = {"explained": explained, "replayed": again}
    return found


def only_known(values: Any, then: Any) -> Any:
    """Return plain settings without the keys that came since, so that digests can be compared.

    Args:
        values: of an experiment, or part of it.
        then: the same as it was frozen; lists of methods are matched by the method's name.
    """
    if isinstance(values, dict) and isinstance(then, dict):
        return {k: only_known(v, then[k]) for k, v in values.items() if k in then}
    if isinstance(values, list) and isinstance(then, list):
        known = {v["name"]: v for v in then if isinstance(v, dict) and "name" in v}
        return [only_known(v, known.get(v["name"])) if isinstance(v, dict) else v for v in values]
    return values


def configured(home: Path, then: dict[str, Any] | None = None) -> dict[str, Any]:
    """Every YAML file as it is understood: settings, runs, cohorts; presets, grids, tasks.

    Args:
        home: with the fixtures.
        then: settings of the demo as frozen; digests leave out what came since. None: nothing.
    """
    files = {}
    for path in sorted(Path("yaml").glob("*.yaml")):
        files[path.name] = _planned(load_config(path))
    overridden = load_config(Path("yaml") / "demo.yaml", OVERRIDES)
    demo, everything = PRESETS["demo"].values(), PRESETS["demo-full"].values()
    base = {**everything, "name": demo["name"], "notes": demo["notes"]}  # as the demo was
    axes = [
        parse("optim.lr_prompt", "0.1, 1e-2", base),
        parse("sources", "each left out", base),
        parse("methods.dtvg.threshold", "0, 0.1", base),
    ]
    grid = []
    for values in expand(base, axes):
        made = build_config(values).model_dump(mode="json")
        grid.append([values["name"], digest(made if then is None else only_known(made, then))])
    tasks = {}
    for name in ("my-nli", "reviews"):
        spec, data = find_task(name), load_task(name, DataConfig())
        tasks[name] = {
            "title": spec.title,
            "labels": plain(spec.labels),
            "metrics": plain(spec.metrics),
            "fingerprint": data.fingerprint,
            "sizes": [len(data.split(s)) for s in ("train", "validation", "test")],
            "first": [data.train[0].source, data.train[0].target],
        }
    return {
        "files": files,
        "overridden": _planned(overridden),
        "presets": {name: preset.values() for name, preset in PRESETS.items()} | {"demo": base},
        "grid": grid,
        "tasks": tasks,
    }


def _planned(config: Any) -> dict[str, Any]:
    made = plan(config)
    cohorts = {c.id: [r.name for r in c.runs] for c in (*made.stage_one, *made.transfer)}
    return {
        "settings": config.model_dump(mode="json"),
        "fingerprint": config.fingerprint(),
        "runs": [len(config.runs()), digest([r.name for r in config.runs()])],
        "cohorts": {name: [len(runs), digest(runs)] for name, runs in cohorts.items()},
        "run_steps": made.run_steps,
    }


def addresses(home: Path) -> dict[str, Any]:
    """What every page address opens: the address it becomes, what is chosen, what is listed."""
    given = json.loads((ROOT / "tests" / "golden" / "frozen" / "addresses.json").read_text())
    return {f"{a['page']}?{a['query']}": opened(a["page"], a["query"]) for a in given}


def opened(page: str, query: str, also: tuple[str, ...] = ()) -> dict[str, Any]:
    """Open one address and return what stands on the page.

    Args:
        page: its module.
        query: of the address.
        also: choices that are wanted beside those in the address.
    """
    from streamlit.testing.v1 import AppTest

    app = AppTest.from_file(str(ROOT / "pages" / f"{page}.py"), default_timeout=60)
    asked = dict(parse_qsl(query, keep_blank_values=True))
    for key, value in asked.items():
        app.query_params[key] = value
    app.run()
    assert not app.exception, (page, query)
    assert not app.error, (page, query, [e.value for e in app.error])
    became = {k: v[0] if isinstance(v, list) else v for k, v in app.query_params.items()}
    state = app.session_state
    found: dict[str, Any] = {
        "address": became,
        "chosen": {k: plain(state[k]) for k in sorted({*asked, *became, *also}) if k in state},
        "charts": len(charts(app)),
    }
    if page == "overview" and app.dataframe:
        table = app.dataframe[0].value
        listed = [c for c in ("experiment", "target", "method", "run") if c in table]
        found["listed"] = ["/".join(map(str, row)) for row in table[listed].to_numpy()]
    if page == "launch" and app.code:
        found["form"] = yaml.safe_load(app.code[0].value)
    return found


VIEWS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "recorded": recorded,
    "compared": compared,
    "decided": decided,
    "configured": configured,
    "addresses": addresses,
}
