"""Docs that cannot go stale: every term, column, method and setting is named in them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from dtvg.config import build_config
from dtvg.config.alerts import AlertsConfig
from dtvg.config.people import PeopleConfig
from dtvg.config.reading import build
from dtvg.errors import ConfigError
from dtvg.methods.specs import METHODS, OWN_METHODS
from dtvg.notation import TERMS
from dtvg.records import TABLES
from dtvg.tasks.catalogue import shipped_tasks
from dtvg.tasks.own import parse_description

DOCS = Path(__file__).resolve().parent.parent / "docs"
EXPERIMENT = {"sources": ["qqp"], "targets": ["sst2"], "methods": ["none", "dtvg"]}
TASK = {"files": "rows.csv", "text": "{review}", "label": "verdict"}
WRITTEN = [
    pytest.param(found, id=f"{page.stem}: {found.split(':')[0]}")
    for page in (DOCS.parent / "README.md", *sorted(DOCS.glob("*.md")))
    for found in re.findall(r"```yaml\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
]
"""The YAML that pages show."""


def test_every_term_is_in_the_notation() -> None:
    text = (DOCS / "notation.md").read_text()
    assert [t.name for t in TERMS if f"| {t.name} |" not in text] == []


def test_every_column_is_in_the_specification_of_the_log() -> None:
    text = (DOCS / "run_files.md").read_text()
    columns = [c for columns in TABLES.values() for c in columns]
    assert [c.name for c in columns if f"| {c.name} | {c.type} |" not in text] == []


def test_every_method_and_setting_is_documented() -> None:
    text = (DOCS / "methods.md").read_text()
    names = [n for spec in METHODS.values() for n in spec.model_fields if n != "name"]
    assert [n for n in (*METHODS, *names) if f"`{n}`" not in text] == []


def test_every_task_stands_in_the_table_of_tasks() -> None:
    text = (DOCS / "tasks.md").read_text()
    names = [n for n, spec in shipped_tasks().items() if spec.dataset != "demo"]
    assert [n for n in names if f"| `{n}` |" not in text] == []


def test_every_part_that_has_a_version_stands_where_versions_are_explained() -> None:
    from dtvg import versions
    from dtvg.store.versions import versions_of_all

    text = (DOCS / "run_files.md").read_text("utf-8").partition("\n## Versions\n")[2]
    values = {**EXPERIMENT, "targets": ["squad"], "data": {"few_shot": 4}}
    parts = {part.partition(".")[0] for part in versions_of_all(build_config(values))}
    assert {"selection", "method"} < parts
    assert [p for p in parts if f"`{p}" not in text.partition("\n## ")[0]] == []
    contributing = (DOCS.parent / "CONTRIBUTING.md").read_text("utf-8")
    numbers = [n for n, v in vars(versions).items() if n.isupper() and isinstance(v, int)]
    assert [n for n in numbers if n != "FIRST" and f"`{n}`" not in contributing] == []


def test_the_tasks_that_have_an_official_test_split_are_named() -> None:
    text = " ".join((DOCS / "tasks.md").read_text("utf-8").split())
    (named,) = re.findall(r"official splits with a labelled test set .*?\((.*?)\)", text)
    tasks = {n for n, t in shipped_tasks().items() if t.is_published and t.split.test}
    assert set(re.findall(r"\w+", named)) == tasks


def test_what_an_operator_may_do_stands_in_the_table_of_roles() -> None:
    found = re.findall(r"\n\| operator \|(.*)\|", (DOCS / "server.md").read_text("utf-8"))
    root = DOCS.parent / "dtvg" / "ui"
    noted = {
        action
        for module in root.rglob("*.py")
        for action in re.findall(r'people\.acting\("(\w+)', module.read_text("utf-8"))
    }
    assert len(noted) > 12
    assert [action for action in sorted(noted) if not re.search(rf"\b{action}\b", found[0])] == []


def test_the_readme_counts_methods_and_tasks_as_they_are() -> None:
    text = (DOCS.parent / "README.md").read_text("utf-8")
    published = [spec for spec in shipped_tasks().values() if spec.is_published]
    assert f"{len(OWN_METHODS)} methods, {len(published)} tasks" in text


def test_every_module_of_the_analysis_that_docs_name_is_there() -> None:
    root = DOCS.parent
    pages = [*DOCS.rglob("*.md"), root / "README.md", root / "CONTRIBUTING.md"]
    named = {
        (page.name, module)
        for page in pages
        for module in re.findall(r"(?:[\w/]*/)?analysis/[\w/]+\.py", page.read_text("utf-8"))
    }
    assert len(named) > 10
    places = (root, root / "dtvg")
    assert [n for n in named if not any((p / n[1]).is_file() for p in places)] == []


def test_every_extra_is_in_the_table_of_extras_and_all_says_what_it_brings() -> None:
    root = DOCS.parent
    extras = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"][
        "optional-dependencies"
    ]
    rows = [r for r in (DOCS / "install.md").read_text("utf-8").splitlines() if r[:3] == "| `"]
    first = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert set(extras) <= first
    (row,) = [row for row in rows if row.startswith("| `all` |")]
    brought, left_out = row.split("|")[2].split("; not")
    (brings,) = re.findall(r"\[(.*)\]", extras["all"][0])
    trackers = {"tensorboard", "wandb", "mlflow", "trackio"}
    assert "the four trackers" in brought
    assert {*re.findall(r"`(\w+)`", brought), *trackers} == set(brings.split(","))
    assert set(re.findall(r"`(\w+)`", left_out)) == set(extras) - set(brings.split(",")) - {"all"}


def test_the_page_of_settings_says_what_the_configuration_does() -> None:
    from tools.settings_page import PAGE, page

    assert PAGE.read_text("utf-8") == page(), "`python -m tools.settings_page` writes it anew"


def test_defaults_on_the_page_of_settings_stand_there_as_in_yaml() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| `(.+?)` \|", (DOCS / "settings.md").read_text(), re.M)
    assert len(rows) > 60
    values: dict[str, Any] = {**EXPERIMENT}
    for path, default in rows:
        group, _, name = path.rpartition(".")
        (values.setdefault(group, {}) if group else values)[name] = yaml.safe_load(default)
    build_config({**values, **EXPERIMENT})


def test_the_page_of_the_python_interface_names_all_of_it() -> None:
    import dtvg
    from dtvg import api

    text = (DOCS / "python.md").read_text("utf-8")
    methods = [m for kind in (api.Run, api.Experiment) for m in vars(kind) if m[0] != "_"]
    names = [f"dtvg.{name}" for name in dtvg.__all__ if name[0] != "_"]
    shown = [*names, *methods, *api.RUN_FIGURES, *api.EXPERIMENT_FIGURES]
    assert [n for n in shown if n != "view" and f"`{n}" not in text] == []


@pytest.mark.parametrize("text", WRITTEN)
def test_yaml_that_a_page_shows_is_read_by_what_it_is_for(text: str) -> None:
    values = yaml.safe_load(text)
    kinds = (
        lambda: build_config({**EXPERIMENT, **values}),
        lambda: parse_description(yaml.safe_dump({**TASK, **values}), Path("reviews.yaml")),
        lambda: build(AlertsConfig, values, "alerts.yaml"),
        lambda: build(PeopleConfig, values, "people.yaml"),
    )
    refused = []
    for read in kinds:
        try:
            read()
        except ConfigError as error:
            refused.append(str(error))
    assert len(refused) < len(kinds), refused[0]
