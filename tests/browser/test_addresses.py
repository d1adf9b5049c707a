"""Addresses and history in a browser: few entries, the back button, links to what is not there."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.analysis.factory import config, record
from tests.browser.conftest import App

pytestmark = [pytest.mark.browser, pytest.mark.timeout(1200)]
WAIT = 180_000


@pytest.fixture(scope="module")
def page(app: App, browser: Browser) -> Page:
    """A tab, with the experiment `trial` and a newer folder of somebody else."""
    record(app.home / "runs", config(targets=["lake"], seeds=[0]), steps=20)
    (app.home / "runs" / "wandb" / "run-1").mkdir(parents=True)
    return browser.new_context(viewport={"width": 1280, "height": 1000}).new_page()


def _entries(page: Page) -> int:
    return int(page.evaluate("history.length"))


def test_addresses_stay_short_and_the_history_too(app: App, page: Page) -> None:
    page.goto("data:text/html,<h1>before</h1>")
    before = _entries(page)
    page.goto(app.url)
    expect(page.get_by_text("Tick rows to compare")).to_be_visible(timeout=WAIT)
    page.wait_for_timeout(2000)
    assert _entries(page) - before <= 2 and page.url.rstrip("/") == app.url

    page.goto(f"{app.url}/groups")  # of the experiment, not of the foreign folder
    expect(page.get_by_text("Steps recorded")).to_be_visible(timeout=WAIT)
    expect(page).to_have_url(f"{app.url}/groups?experiment=trial&run=lake.dtvg.s0", timeout=WAIT)
    before = _entries(page)
    page.get_by_role("radio", name="Weights").click()
    expect(page).to_have_url(f"{page.url.split('&view')[0]}&view=Weights", timeout=WAIT)
    assert _entries(page) == before + 1
    page.go_back()
    expect(page.get_by_text("Which sources were in the group, and when")).to_be_visible(
        timeout=WAIT
    )
    assert "view" not in page.url

    address = f"{app.url}/compare?experiment=rte-of-last-year"
    page.goto(address)
    expect(page.get_by_text("There is no experiment 'rte-of-last-year'")).to_be_visible(
        timeout=WAIT
    )
    page.wait_for_timeout(1000)
    assert page.url == address
