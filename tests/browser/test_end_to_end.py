"""What a new user does, in a browser: launch, watch, stop, resume, look, explain, export."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import Browser, Page, expect

from dtvg.analysis.run.groups import group_info
from dtvg.store.reader import Run, open_experiment
from dtvg.testing.tiny_run import tiny_config
from tests.browser.conftest import App

pytestmark = [pytest.mark.browser, pytest.mark.timeout(1200)]


def _settings(folder: Path, name: str) -> str:
    values = tiny_config(folder, methods=["dtvg"], name=name)
    values["optim"] = {**values["optim"], "steps": 100_000}
    values["evaluation"] = {"every": 100, "max_examples": 4}
    return yaml.safe_dump(values)


def _transfer(folder: Path) -> Run:
    return next(r for r in open_experiment(folder).runs if r.role == "transfer")


def _wait(true: Callable[[], bool], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"did not come about within {seconds} s"
        time.sleep(0.2)


def _no_trouble(page: Page) -> None:
    expect(page.locator("h1").first).to_be_visible(timeout=120_000)
    # a file that is made when asked for belongs to the run of the page that offered it
    page.locator("[data-test-script-state=notRunning]").wait_for(timeout=120_000)
    assert page.get_by_text("did not work as it should").count() == 0
    assert page.get_by_text("Traceback").count() == 0


@pytest.mark.parametrize("resumed", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_launch_live_stop_resume_groups_explain_and_export(
    app: App, browser: Browser, tmp_path: Path, resumed: bool
) -> None:
    name = "resumed" if resumed else "walk"
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.goto(f"{app.url}/launch?from=pasted+YAML")
    area = page.get_by_label("YAML of an experiment")
    area.fill(_settings(tmp_path, name), timeout=120_000)
    area.press("Control+Enter")
    page.get_by_role("button", name="Start", exact=False).last.click(timeout=120_000)

    page.wait_for_url("**/live?**", timeout=120_000)
    expect(page.get_by_text("1 running").first).to_be_visible(timeout=240_000)
    page.locator(".js-plotly-plot").first.wait_for(timeout=240_000)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("1 stopped").first).to_be_visible(timeout=120_000)
    folder = app.home / "runs" / name
    stopped = _transfer(folder)
    assert 0 < stopped.step < stopped.total_steps

    if resumed:
        page.reload()
        page.get_by_role("button", name="Resume").click(timeout=120_000)
        expect(page.get_by_text("1 running").first).to_be_visible(timeout=240_000)
        _wait(lambda: _transfer(folder).step > stopped.step)
        page.get_by_role("button", name="Stop").click()
        expect(page.get_by_text("1 stopped").first).to_be_visible(timeout=120_000)
    last = _transfer(folder).step
    page.goto(f"{app.url}/groups?experiment={name}")
    page.locator(".js-plotly-plot").first.wait_for(timeout=120_000)
    _no_trouble(page)
    page.get_by_text("Numbers (").first.click()
    with page.expect_download(timeout=120_000) as waiting:
        page.get_by_role("button", name="Download CSV").first.click()
    with Path(waiting.value.path()).open() as file:
        rows = list(csv.DictReader(file))
    info = group_info(_transfer(folder))
    assert [int(r["first"]) for r in rows] == info.timeline["first"].tolist()

    page.goto(f"{app.url}/explain?experiment={name}&step=7")
    expect(page.get_by_text("The decision at step 7")).to_be_visible(timeout=120_000)
    page.get_by_role("button", name="Newest step").click()
    expect(page.get_by_text(f"The decision at step {last:,}")).to_be_visible(timeout=120_000)
    page.wait_for_url(lambda url: "step=" not in url, timeout=120_000)  # the newest is meant
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.get_by_text(f"The decision at step {last:,}")).to_be_visible(timeout=120_000)
    _no_trouble(other)


@pytest.mark.parametrize(
    "width",
    [pytest.param(width, marks=pytest.mark.slow) for width in (390, 1280, 1920)],
)
def test_no_page_is_wider_than_the_window(app: App, browser: Browser, width: int) -> None:
    page = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark"
    ).new_page()
    for name in ("", "launch", "live", "groups", "explain", "compare", "prompts", "tasks", "share"):
        page.goto(f"{app.url}/{name}")
        _no_trouble(page)
        page.wait_for_timeout(1_000)
        wide = page.evaluate(
            "(() => { const m = document.querySelector('[data-testid=stMain]');"
            " return m.scrollWidth - m.clientWidth; })()"
        )
        assert wide <= 1, f"{name or 'overview'} overflows by {wide} px at {width}"
