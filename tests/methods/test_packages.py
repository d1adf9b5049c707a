"""Methods of other packages: found by entry point, used like ours, refused in one sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from dtvg.errors import ConfigError
from dtvg.methods.base import find_method
from dtvg.methods.specs import OWN_METHODS
from dtvg.methods.specs.packages import GROUP, found_methods
from dtvg.names import check_name

ROOT = Path(__file__).resolve().parents[2]

SPEC = '''
from typing import ClassVar, Literal
from pydantic import Field
from dtvg.methods.specs import MethodConfig


class Nudge(MethodConfig):
    """The target's own vector, a little longer."""

    title = "Nudge"
    paper = "a toy"
    summary = "The target's vector times a factor."
    code: ClassVar[str] = "toy_nudge.code"
    reads = "nothing"
    trains_scales = False

    name: Literal["nudge"] = "nudge"
    factor: float = Field(1.5, gt=0, description="Factor of the vector.")
'''
CODE = '''
from dtvg.methods.base import PlainPrompt


class Method(PlainPrompt):
    """Starts further along the target's vector."""

    def start(self, inputs):
        return inputs.init + self.config.factor * (inputs.target_prompt - inputs.init), []
'''
KIT = """
from dtvg.methods.specs import METHODS
from dtvg.testing.methods import MethodContract


class TestNudge(MethodContract):
    config = METHODS["nudge"](factor=2.0)
"""
BROKEN = "raise RuntimeError('half installed')\n"


def _install(folder: Path, package: str, files: dict[str, str], points: dict[str, str]) -> None:
    """Lay a package out as an installer does."""
    for name, text in {"__init__.py": "", **files}.items():
        (folder / package).mkdir(parents=True, exist_ok=True)
        (folder / package / name).write_text(text)
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"[{GROUP}]", *(f"{name} = {target}" for name, target in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one good package, one that breaks, and one that clashes with ours."""
    folder = tmp_path_factory.mktemp("site")
    good = {"spec.py": SPEC, "code.py": CODE, "test_kit.py": KIT}
    _install(folder, "toy_nudge", good, {"nudge": "toy_nudge.spec:Nudge"})
    _install(folder, "toy_broken", {"spec.py": BROKEN}, {"halved": "toy_broken.spec:Halved"})
    clash = {"spec.py": SPEC.replace("nudge", "dtvg")}
    _install(folder, "toy_clash", clash, {"dtvg": "toy_clash.spec:Nudge"})
    return folder


def _python(site: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}", "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=site,
        env=environment,
        check=False,
    )


def test_a_package_s_method_is_listed_configured_planned_and_loads_no_torch(site: Path) -> None:
    code = """
import json, sys
from dtvg.config import build_config
from dtvg.config.grid import settings
from dtvg.methods.specs import METHODS, PROBLEMS, Role
from dtvg.plan import plan
from dtvg.ui.launch.draft import defaults
values = {"sources": ["sst2"], "targets": ["rte"], "seeds": [0]}
config = build_config({**values, "methods": ["nudge", {"name": "nudge", "factor": 3}]})
again = build_config(json.loads(config.model_dump_json()))
made = plan(config)
print(json.dumps({
    "last": list(METHODS)[-1],
    "labels": [run.method.label for run in config.runs()],
    "same": again.fingerprint() == config.fingerprint(),
    "roles": [run.full_role for run in config.runs()],
    "starts": list(made.starts["rte.nudge.s0"]),
    "defaults": defaults("nudge"),
    "grid": "methods.nudge.factor" in settings(),
    "torch": "torch" in sys.modules or "toy_nudge.code" in sys.modules,
    "problems": list(PROBLEMS),
}))
"""
    out = _python(site, "-c", code)
    assert out.returncode == 0, out.stderr
    found = json.loads(out.stdout)
    assert found["last"] == "nudge" and found["labels"] == ["nudge", "nudge-factor3"]
    assert found["same"] and found["grid"] and not found["torch"]
    assert found["roles"] == ["headline"] * 2 and found["starts"] == ["stage1.rte.s0"]
    assert found["defaults"] == {"name": "nudge", "factor": 1.5}
    broken, clash = sorted(found["problems"], key=lambda text: "toy_clash" in text)
    assert "Package 'toy_broken'" in broken and "half installed" in broken
    assert "Package 'toy_clash'" in clash and "part of dtvg" in clash


def test_the_list_has_it_and_each_unusable_one_is_one_sentence(site: Path) -> None:
    out = _python(site, "-m", "dtvg", "methods", "list")
    assert out.returncode == 0
    assert out.stdout.splitlines()[-1].split()[0] == "nudge"
    assert len(out.stdout.splitlines()) == len(OWN_METHODS) + 1
    said = [line for line in out.stderr.splitlines() if "left out" in line]
    assert len(said) == 2 and "Traceback" not in out.stderr


def test_the_shipped_contract_holds_for_it(site: Path) -> None:
    kit = site / "toy_nudge" / "test_kit.py"
    out = _python(site, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(kit))
    assert out.returncode == 0, out.stdout
    assert "passed" in out.stdout and "skipped" not in out.stdout


def _offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, name: str = "nudge"):
    package = f"made_{abs(hash(text))}"
    (tmp_path / f"{package}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    return found_methods(OWN_METHODS, [EntryPoint(name, f"{package}:Nudge", GROUP)])


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ("a/b", "a-b"),
        ("Größe?", "grosse"),
        (("x y", "z"), "mixx-y_z"),
        ("!", "_"),
        ("c.d_e", "c.d_e"),
    ],
)
def test_any_setting_can_stand_in_the_name_of_a_variant(
    value, label, tmp_path, monkeypatch
) -> None:
    text = SPEC + '    mix: str | tuple[str, ...] = Field("", description="Any text.")\n'
    found, problems = _offered(tmp_path, monkeypatch, text)
    assert not problems
    method = found["nudge"](mix=value)
    assert method.label == f"nudge-{label}"
    check_name(f"rte.{method.label}.s0")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("(MethodConfig)", ""), "not a subclass"),
        (('    code: ClassVar[str] = "toy_nudge.code"\n', ""), "lacks the class variables code"),
        (('    title = "Nudge"\n', ""), "lacks the class variables title"),
        (("Field(1.5, gt=0", "Field(gt=0"), "no usable defaults"),
        (('name: Literal["nudge"] = "nudge"', 'name: str = "nudge"'), "its field must read"),
    ],
)
def test_what_is_wrong_with_an_entry_is_said(change, sentence, tmp_path, monkeypatch) -> None:
    text = SPEC.replace(*change)
    assert text != SPEC
    found, problems = _offered(tmp_path, monkeypatch, text)
    assert not found and len(problems) == 1 and sentence in problems[0]
    assert "transfer method 'nudge'" in problems[0]


def test_two_packages_of_one_name_and_a_prepared_clash_are_refused(tmp_path, monkeypatch) -> None:
    (tmp_path / "twice.py").write_text(SPEC)
    monkeypatch.syspath_prepend(str(tmp_path))
    points = [EntryPoint("nudge", "twice:Nudge", GROUP)] * 2
    found, problems = found_methods(OWN_METHODS, points)
    assert list(found) == ["nudge"] and "offers it already" in problems[0]
    more = SPEC + (
        "\nclass Own(MethodConfig):\n    code = 'x'\n    name: Literal['mpt_sources'] = "
        "'mpt_sources'\n\nNudge.prepares = (Own,)\n"
    )
    (tmp_path / "thrice.py").write_text(more)
    points = [EntryPoint("nudge", "thrice:Nudge", GROUP)]
    found, problems = found_methods({*OWN_METHODS, "mpt_sources"}, points)
    assert not found and "'mpt_sources', which it trains on mixtures" in problems[0]


def test_code_that_cannot_be_imported_is_one_sentence(tmp_path, monkeypatch) -> None:
    found, problems = _offered(tmp_path, monkeypatch, SPEC.replace("toy_nudge.code", "gone.code"))
    assert not problems
    with pytest.raises(ConfigError, match="class Method of 'gone.code'.*reinstall"):
        find_method(found["nudge"]())
