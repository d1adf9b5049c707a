"""The compare page in a browser: a view that opens again in a new tab, other pages, images."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from dtvg.figures import images
from tests.analysis.factory import config, record
from tests.browser.conftest import App

pytestmark = [pytest.mark.browser, pytest.mark.timeout(1200)]


@pytest.fixture
def page(app: App, browser: Browser) -> Page:
    """A tab, with the experiments `trial` and `other` beside the recorded one."""
    if not (app.home / "runs" / "trial").exists():
        record(app.home / "runs", config(targets=["lake"], seeds=[0, 1]), steps=20)
        record(app.home / "runs", config("other", targets=["lake"], seeds=[0]), steps=20)
    return browser.new_context(viewport={"width": 1280, "height": 1000}).new_page()


def _chosen(page: Page, names: list[str]) -> None:
    box = page.get_by_test_id("stMultiSelect").first
    for name in names:
        expect(box.get_by_text(name, exact=True)).to_be_visible(timeout=120_000)


@pytest.mark.slow  # what addresses hold and open: tests/pages/test_addresses.py
def test_a_view_of_two_experiments_opens_again_in_a_new_tab(app: App, page: Page) -> None:
    page.goto(f"{app.url}/compare?experiment=trial,other")
    _chosen(page, ["trial", "other"])
    page.get_by_role("radio", name="Transfer").click()
    expect(page.get_by_text("What each source adds")).to_be_visible(timeout=120_000)
    expect(page).to_have_url(re.compile("view=Transfer"))  # written when the page ends
    address = page.url
    again = page.context.new_page()
    again.goto(address)
    _chosen(again, ["trial", "other"])
    expect(again.get_by_text("What each source adds")).to_be_visible(timeout=120_000)


@pytest.mark.slow
def test_another_page_shows_the_first_experiment_and_both_are_back_on_return(
    app: App, page: Page
) -> None:
    page.goto(f"{app.url}/compare?experiment=other,trial")
    _chosen(page, ["trial", "other"])
    page.get_by_role("link", name="Groups").click()
    expect(page.get_by_text("Steps recorded")).to_be_visible(timeout=120_000)
    expect(page).to_have_url(re.compile(r"experiment=other(?!.*trial)"))
    page.get_by_role("link", name="Compare").click()
    _chosen(page, ["trial", "other"])


@pytest.mark.slow  # the file itself: tests/figures/test_images.py
@pytest.mark.skipif(bool(images.missing()), reason="needs kaleido and an installed Chromium")
def test_a_figure_is_downloaded_as_svg_when_asked_for(app: App, page: Page, tmp_path: Path) -> None:
    page.goto(f"{app.url}/compare?experiment=trial&view=Transfer")
    page.get_by_role("button", name="Download figure").first.click(timeout=120_000)
    with page.expect_download(timeout=240_000) as asked:
        page.get_by_role("button", name="SVG", exact=True).click()
    asked.value.save_as(tmp_path / "figure.svg")
    assert asked.value.suggested_filename == "trial-transfer-single.svg"
    assert (tmp_path / "figure.svg").read_text().startswith("<svg")
