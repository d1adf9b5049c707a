"""Styles and axes that every figure shares."""

from __future__ import annotations

import itertools
import math

import numpy as np
import plotly.graph_objects as go
import pytest

from dtvg.figures import theme
from dtvg.figures.ends import LONGEST, apart, label_ends, short_names
from dtvg.figures.spoken import spoken


def test_from_the_fifth_on_a_line_has_a_dash_and_no_two_of_twenty_look_alike() -> None:
    styles = [theme.style_at(place) for place in range(20)]
    assert [s.dash for s in styles[:4]] == ["solid"] * 4
    assert all(s.dash != "solid" for s in styles[4:])
    assert len({(s.colour, s.dash) for s in styles}) == 20


@pytest.mark.parametrize(
    ("values", "ends"),
    [([0.0, 0.0], (-0.02, 0.055)), ([0.93, 0.98], (0.90, 1.01)), ([-0.4, 0.5], (-0.445, 0.545))],
)
def test_a_score_axis_fits_what_is_drawn(values: list[float], ends: tuple[float, float]) -> None:
    assert theme.score_range([*values, math.nan]) == pytest.approx(ends, abs=1e-9)
    assert theme.score_range([math.nan]) is None


SIMULATED = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
         [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
         [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
         [0.004733, 0.691367, 0.303900]]
    ),
}  # fmt: skip
"""Machado, Oliveira and Fernandes, IEEE TVCG 15 (2009), severity 1, on linear RGB."""
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
     [0.0193339, 0.1191920, 0.9503041]]
)  # fmt: skip


def lab(colour: str, seen: np.ndarray) -> np.ndarray:
    """A colour in CIELAB as it is seen."""
    values = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    shares = TO_XYZ @ np.clip(seen @ linear, 0, 1) / np.array([0.95047, 1.0, 1.08883])
    f = np.where(shares > 216 / 24389, np.cbrt(shares), (24389 / 27 * shares + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("vision", SIMULATED)
def test_ten_sources_are_told_apart_with_any_colour_vision(vision: str, dark: bool) -> None:
    styles = [theme.style_at(place, dark) for place in range(10)]
    seen = [lab(style.colour, SIMULATED[vision]) for style in styles]
    for one, other in itertools.combinations(range(10), 2):
        apart = float(np.linalg.norm(seen[one] - seen[other]))
        if styles[one].dash == styles[other].dash:
            assert apart > 12, f"{one} and {other} differ by {apart:.1f} alone"


def test_an_image_of_a_dark_page_is_on_light_paper() -> None:
    figure = go.Figure(
        go.Scatter(x=[1], y=[2], line={"color": theme.style_at(3, True).colour}),
    )
    figure.add_trace(go.Scatter(x=[1], y=[2], fillcolor=theme.style_at(1, True).faded(0.2)))
    theme.finish(figure, key="k", x="a", y="b", height=300, dark=True)
    text = theme.on_paper(figure).to_json()
    assert theme.LIGHT_COLOURS[3] in text and theme.style_at(1).faded(0.2) in text
    for colour in (*theme.DARK_COLOURS, theme.DARK_INK.paper):
        assert colour not in text
    light = theme.finish(go.Figure(), key="k", x="a", y="b", height=300)
    assert theme.on_paper(light) == light


def test_names_at_the_ends_of_lines_do_not_overlap() -> None:
    figure = go.Figure(
        [go.Scatter(x=[0, 1], y=[0, 0.5 + 0.001 * i], name=f"s{i}", mode="lines") for i in range(8)]
    )
    theme.finish(figure, key="k", x="a", y="b", height=300)
    label_ends(figure)
    label_ends(figure)  # again: places them anew
    notes = figure.layout.annotations
    assert [n.name for n in notes] == [f"line end s{i}" for i in range(8)]
    assert figure.layout.showlegend is False
    room, span = 300 - 90, 0.507 * 1.1
    heights = [n.y / span * room + n.yshift for n in notes]
    assert min(np.diff(heights)) >= 13.5
    few = go.Figure([go.Scatter(x=[0, 1], y=[0, i], name=f"s{i}") for i in range(3)])
    label_ends(few)
    assert not few.layout.annotations


def test_names_at_the_ends_of_lines_keep_what_tells_them_apart() -> None:
    runs = [f"stage1.{task}.s{seed}" for task in ("count-things", "trip-mood") for seed in range(3)]
    figure = go.Figure([go.Scatter(x=[0, 1], y=[0, i], name=n) for i, n in enumerate(runs)])
    figure.update_traces(mode="lines")
    theme.finish(figure, key="k", x="a", y="b", height=300)
    label_ends(figure)
    said = [n.text.partition("</span> ")[2] for n in figure.layout.annotations]
    assert said[:2] == ["Count things · seed 0", "Count things · seed 1"]
    assert said[5] == "Trip mood · seed 2"
    same_seed = ["Trip mood · Single source: Film mood · seed 0", "Trip mood · DTVG · seed 0"]
    assert short_names(same_seed) == ["Single source: Film mood", "DTVG"]
    assert short_names(["short", "names"]) == ["short", "names"]
    long = [f"one and the same very long beginning {k}" for k in range(3)]
    cut = short_names(long)
    assert len(set(cut)) == 3 and all(len(name) == LONGEST for name in cut)
    assert short_names(["x" * 40, "x" * 40])[0] == "x" * (LONGEST - 1) + "…"


def test_a_chart_says_its_values_and_trends() -> None:
    figure = go.Figure(go.Scatter(x=[1, 2, 3], y=[0.2, -0.1, 0.6], name="lake", mode="lines"))
    said = spoken(figure, "Similarity of each source")
    assert said == (
        "Similarity of each source. lake: from 0.2 at 1 to 0.6 at 3, rising, highest 0.6 at 3."
    )
    bars = go.Figure(go.Bar(orientation="h", y=["a", "b"], x=[0.3, -0.5], name="gain"))
    assert "highest a 0.3, lowest b" in spoken(bars, "Gains")
    grid = go.Figure(go.Heatmap(z=[[1, 2], [3, 4]], x=["p", "q"], y=["r", "s"]))
    assert "highest 4 at s, q, lowest 1 at r, p" in spoken(grid, "Matrix")


def test_differences_are_written_in_points() -> None:
    ticks = theme.in_points(-0.104, 0.169)
    assert ticks["ticktext"] == ["−10", "−5", "0", "+5", "+10", "+15"]
    assert np.allclose(ticks["tickvals"], [-0.1, -0.05, 0, 0.05, 0.1, 0.15])
    small = theme.in_points(-0.002, 0.002)["ticktext"]
    assert "0" in small and "−0.1" in small


def test_names_of_points_that_are_close_stand_on_different_sides() -> None:
    places = np.array([[0.0, 0.0], [0.01, 0.005], [0.0, 0.0], [1.0, 1.0]])
    names = ["who-gave", "trip-mood", "", "far away"]
    written, sides = apart(places, names)
    assert sides[0] != sides[1] and written == names
    assert sides[3] == "top center"


def test_a_name_that_would_cover_another_wherever_it_stands_is_left_out() -> None:
    places = np.array([*[[0.001 * k, 0.0] for k in range(9)], [1.0, 1.0]])
    written, _ = apart(places, [f"a long name {k}" for k in range(10)])
    assert written[0] and written[-1] and 2 <= sum(map(bool, written)) < 10
