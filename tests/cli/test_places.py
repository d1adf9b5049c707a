"""What a person types for an experiment or a run is looked for among the examples, too."""

from __future__ import annotations

from pathlib import Path

import pytest

from dtvg.cli import main
from tests.analysis.factory import config, record


def test_messages_know_the_recorded_examples(
    own_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(own_home / "runs", config("mine", methods=["none"], targets=["lake"], seeds=[0]))
    assert main(["runs", "show", "demo-recorde"]) == 2
    said = capsys.readouterr().err
    assert "Did you mean 'demo-recorded'? Allowed: demo-recorded, mine," in said
    assert main(["runs", "show", "demo-recorded/trip-mood.dtvg.s77"]) == 2
    said = capsys.readouterr().err
    assert "Unknown run 'trip-mood.dtvg.s77'. Did you mean 'trip-mood.dtvg.s7'?" in said
