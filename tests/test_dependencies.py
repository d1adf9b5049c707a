"""What is imported is declared, what is declared is used, and what is optional can be absent."""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dtvg.extras import EXTRAS, missing, require

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PRODUCT = (ROOT / "app.py", *(ROOT / "pages").rglob("*.py"), *(ROOT / "dtvg").rglob("*.py"))
AROUND = tuple(p for f in ("benchmarks", "tests", "tools") for p in (ROOT / f).rglob("*.py"))

DISTRIBUTIONS = {
    "array_api_compat": "array-api-compat",
    "import_linter": "import-linter",
    "markdown_it": "markdown-it-py",
    "mlflow": "mlflow-skinny",
    "pynvml": "nvidia-ml-py",
    "pytest_timeout": "pytest-timeout",
    "rouge_score": "rouge-score",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}
"""Where a distribution has another name than its module."""

BY_ANOTHER = {
    "s3fs": "fsspec reaches s3:// with it; dtvg looks whether it is there",
    "gcsfs": "fsspec reaches gs:// with it; dtvg looks whether it is there",
    "adlfs": "fsspec reaches abfs:// with it; dtvg looks whether it is there",
    "paramiko": "fsspec reaches sftp:// with it; dtvg looks whether it is there",
    "authlib": "streamlit logs people in with it; dtvg looks whether it is there",
    "accelerate": "transformers loads quantised weights with it (device_map)",
    "kaleido": "plotly makes image files with it; dtvg looks whether it is there",
    "bitsandbytes": "transformers quantises with it; dtvg looks whether it is there",
}
"""Declared and used, but imported by another package."""

PARTS = {"click": "streamlit", "pydantic-core": "pydantic"}
"""Distributions that come with a declared one, as a part of its interface."""


def name_of(requirement: str) -> str:
    """The normal form of a requirement's name: `Foo_Bar>=1` → `foo-bar`."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found, requirement
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def declared(extra: str | None = None) -> dict[str, str]:
    """Name → requirement, of the core or an extra."""
    lines = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    return {name_of(line): line for line in lines}


def listed(file: str) -> dict[str, str]:
    """Name → requirement of a requirements file."""
    lines = [line.strip() for line in (ROOT / file).read_text().splitlines()]
    return {name_of(line): line for line in lines if line and not line.startswith("#")}


@functools.cache
def imported(paths: tuple[Path, ...]) -> dict[str, set[str]]:
    """Distribution → files that import it, anywhere in them."""
    own = {"app", "benchmarks", "dtvg", "pages", "tests", "tools"}
    found: dict[str, set[str]] = {}
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for module in {name.split(".")[0] for name in names} - own - sys.stdlib_module_names:
                name = DISTRIBUTIONS.get(module, module)
                found.setdefault(name_of(name), set()).add(path.relative_to(ROOT).as_posix())
    return found


def test_everything_imported_is_declared() -> None:
    known = set(declared())
    for extra in EXTRAS:
        known |= set(declared(extra))
    known |= {*declared("testing"), *PARTS}
    assert {k: v for k, v in imported(PRODUCT).items() if k not in known} == {}


def test_everything_declared_is_used() -> None:
    used = set(imported(PRODUCT)) | set(BY_ANOTHER)
    wanted = {*declared(), *(name for extra in (*EXTRAS, "testing") for name in declared(extra))}
    assert sorted(wanted - used) == []


def test_benchmarks_tests_and_tools_import_only_what_the_requirements_install() -> None:
    known = {*listed("requirements.txt"), *listed("requirements-dev.txt"), *PARTS}
    known |= {"wandb", "trackio", "moto", "s3fs", "botocore"}  # large; where they lack, skipped
    assert {k: v for k, v in imported(AROUND).items() if k not in known} == {}


def test_the_requirements_are_the_core_and_what_the_app_needs_with_torch_pinned() -> None:
    wanted = declared() | declared("app") | declared("images") | declared("nlg")
    found = listed("requirements.txt")
    assert re.fullmatch(r"torch==\d+\.\d+\.\d+", found["torch"])
    assert {k: v for k, v in found.items() if k != "torch"} == {
        k: v for k, v in wanted.items() if k != "torch"
    }


def test_the_named_extras_are_the_declared_ones() -> None:
    for extra, modules in EXTRAS.items():
        assert {DISTRIBUTIONS.get(m, m) for m in modules} == set(declared(extra)), extra
    assert set(PROJECT["optional-dependencies"]) == {*EXTRAS, "testing", "all"}
    assert PROJECT["optional-dependencies"]["all"] == [f"dtvg[{','.join(EXTRAS)}]"]


def test_a_missing_extra_is_one_sentence_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from dtvg.errors import ConfigError

    monkeypatch.setitem(sys.modules, "nltk", None)
    monkeypatch.setitem(sys.modules, "rouge_score", None)
    assert missing("nlg") == ["rouge_score", "nltk"]
    sentence = (
        "The metric ROUGE needs rouge-score and nltk, which are not installed; "
        "`pip install -e '.[nlg]'` installs what is missing."
    )
    with pytest.raises(ConfigError) as raised:
        require("nlg", "The metric ROUGE")
    assert str(raised.value) == sentence


WITHOUT = """
import sys
for name in {modules!r}:
    sys.modules[name] = None
"""


def without(extra: str, code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process in which an extra's packages cannot be imported."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT.format(modules=EXTRAS[extra]) + code],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    "words", [["app"], ["runs", "report", "demo-recorded", "--out", "report.html"]]
)
def test_a_command_without_its_extra_is_one_sentence_that_names_it(words: list[str]) -> None:
    done = without("app", f"from dtvg.cli import main; sys.exit(main({words!r}))")
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "`pip install -e '.[app]'`" in done.stderr


def test_the_core_plans_compares_and_loads_everything_that_trains_without_extras() -> None:
    """The command line of a lean install: no Streamlit, no Plotly, no metrics of text."""
    lean = [name for extra in EXTRAS for name in EXTRAS[extra]]
    code = WITHOUT.format(modules=lean) + (
        "from dtvg.cli import main\n"
        "import dtvg.training.procedures, dtvg.methods.base, dtvg.backbones.loading\n"
        "sys.exit(main(['demo', 'run', '--dry-run']) or main(['runs', 'compare', 'demo-recorded']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
