"""What is on this machine and named as a data set of the hub is told so, scripts as scripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from dtvg.errors import ConfigError
from dtvg.names import check_name, proposed
from dtvg.tasks.own import read_description

TEXT = "hub: {hub}\ntext: 'a: {{a}}'\nlabels: ['0', '1']\n"


def refusal(folder: Path, hub: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(TEXT.format(hub=hub))
    with pytest.raises(ConfigError) as told:
        read_description(path)
    return str(told.value)


def test_a_local_script_data_set_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "my_set").mkdir()
    (tmp_path / "my_set" / "my_set.py").write_text("raise SystemExit('never run')")
    for hub in ("my_set", "./my_set", "my_set/my_set.py", str(tmp_path / "my_set")):
        said = refusal(tmp_path, hub)
        assert "is a data set script" in said and "to_parquet" in said, hub
    assert "is a data set script" in refusal(tmp_path, "elsewhere/other.py")


def test_other_places_of_this_machine_are_no_data_sets_of_the_hub(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    assert "is on this machine, not on the hub" in refusal(tmp_path, "./rows")
    assert "named OWNER/NAME" in refusal(tmp_path, "../nowhere")


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        ("RTE-v1", "rte-v1"),
        ("Café Zürich", "cafe-zurich"),
        ("Straße.2", "strasse.2"),
        ("Łódź", "lodz"),
        (".hidden", "hidden"),
        ("a/b c", "a-b-c"),
        ("x" * 90, "x" * 80),
        ("任务", ""),
        ("../", ""),
    ],
)
def test_a_name_that_is_not_allowed_comes_with_one_that_is(given: str, allowed: str) -> None:
    assert proposed(given) == allowed
    with pytest.raises(ConfigError) as told:
        check_name(given)
    assert (f"e.g. '{allowed}'" in str(told.value)) == bool(allowed)
