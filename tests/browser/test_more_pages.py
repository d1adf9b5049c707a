"""Curves, Run and Playground in a browser: chosen, shared by address, asked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import App
from tests.browser.test_accessibility import opened, settle

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]
EXAMPLE = "experiment=demo-recorded&run=trip-mood.dtvg.s0"
LINES = "chart => chart._fullData.map(t => t.name)"


@pytest.fixture
def page(browser: Browser) -> Page:
    return opened(browser)


def test_runs_are_laid_over_each_other_and_open_again_by_address(app: App, page: Page) -> None:
    chosen = "demo-recorded/trip-mood.dtvg.s0,demo-recorded/trip-mood.all_sources.s0"
    settle(page, f"{app.url}/curves?runs={chosen}")
    chart = page.locator(".js-plotly-plot").first
    assert set(chart.evaluate(LINES)) == {
        "Trip mood · DTVG · seed 0",
        "Trip mood · All sources · seed 0",
    }
    buttons = page.get_by_test_id("stButtonGroup")
    buttons.get_by_text("Trip mood · All sources · seed 0", exact=True).click()
    expect(page).to_have_url(re.compile(r"off=demo-recorded"), timeout=120_000)
    again = page.context.new_page()
    settle(again, page.url)
    shown = again.locator(".js-plotly-plot").first.evaluate(LINES)
    assert shown == ["Trip mood · DTVG · seed 0"]
    again.get_by_role("radio", name="Side by side").click()
    expect(again.get_by_text("Where they part")).to_be_visible(timeout=120_000)


def test_a_run_says_everything_and_its_files_can_be_taken(app: App, page: Page) -> None:
    settle(page, f"{app.url}/run?{EXAMPLE}")
    for title in ("Result", "Configuration", "Events", "Provenance", "Log", "Files"):
        expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible()
    expect(page.get_by_text("Without transfer")).to_be_visible()
    with page.expect_download(timeout=120_000) as asked:
        page.get_by_role("button", name="Download file").click()
    assert "trip-mood" in Path(asked.value.path()).read_text()  # its settings
    page.get_by_role("main").get_by_role("link", name="Explain", exact=True).click()
    expect(page.get_by_text("The decision at step 150")).to_be_visible(timeout=120_000)


def test_two_prompts_answer_and_one_without_a_source(app: App, page: Page) -> None:
    settle(page, f"{app.url}/playground?{EXAMPLE}&without=film-mood")
    area = page.get_by_label("Input, as the model reads it for Trip mood")
    area.fill("letter: the view was splendid.")
    area.press("Control+Enter")
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_text("Answered in")).to_be_visible(timeout=240_000)
    for name in (
        "Trip mood · DTVG · seed 0",
        "Trip mood · No transfer · seed 0",
        "Trip mood · DTVG · seed 0 without Film mood",
    ):
        expect(page.get_by_text(name, exact=True).last).to_be_visible()
    expect(page.get_by_text("Merged: Meal mood")).to_be_visible()
    area.fill("letter: the view was dull.")
    area.press("Control+Enter")
    expect(page.get_by_text("Something was changed since")).to_be_visible(timeout=120_000)
