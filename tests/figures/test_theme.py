"""Styles and axes that every figure shares."""

from __future__ import annotations

import math

import pytest

from dtvg.figures import theme


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
