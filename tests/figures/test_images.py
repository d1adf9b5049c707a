"""Image files of figures, and what is said where they cannot be made."""

from __future__ import annotations

import importlib.util
import shutil

import plotly.graph_objects as go
import pytest

from dtvg.errors import JobError
from dtvg.figures import images


@pytest.fixture
def figure() -> go.Figure:
    return go.Figure(go.Scatter(x=[1, 2], y=[3, 4]), layout={"height": 300})


@pytest.mark.skipif(bool(images.missing()), reason="needs kaleido and an installed Chromium")
@pytest.mark.parametrize(("form", "start"), [("SVG", b"<svg"), ("PDF", b"%PDF")])
def test_a_figure_becomes_a_file_of_its_own_height(
    figure: go.Figure, form: str, start: bytes
) -> None:
    made = images.image(figure, form)
    assert made.startswith(start)
    if form == "SVG":
        assert b'width="1000" height="300"' in made
    assert figure.layout.width is None  # what is shown stays as it is


def test_without_a_browser_the_sentence_says_what_to_install(
    figure: go.Figure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BROWSER_PATH", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    if importlib.util.find_spec("kaleido") is not None:
        assert "apt install chromium" in images.missing()
    with pytest.raises(JobError, match="Use the camera above the figure"):
        images.image(figure, "SVG")


def test_a_named_browser_that_is_no_program_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROWSER_PATH", "/no/such/browser")
    if importlib.util.find_spec("kaleido") is not None:
        assert "/no/such/browser" in images.missing()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install kaleido" in images.missing()
