"""Charts in a browser: what a reader zoomed or hid survives a redraw; clicks are heard."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import App

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]
RUN = "experiment=demo-recorded&run=trip-mood.dtvg.s0"
RANGE = "chart => chart._fullLayout.xaxis.range.map(Number)"
DRAWN_LINE = "chart => chart.layout.shapes.map(s => s.x0).join()"
HIDDEN = "chart => chart._fullData.filter(t => t.visible === 'legendonly').map(t => t.name)"


def drawn(app: App, browser: Browser, asked: str, width: int, height: int) -> Page:
    """A page whose first chart stands."""
    made = browser.new_context(viewport={"width": width, "height": height}).new_page()
    made.goto(f"{app.url}/{asked}")
    made.locator(".js-plotly-plot").first.wait_for(timeout=120_000)
    return made


@pytest.fixture
def page(app: App, browser: Browser) -> Page:
    """The recorded example's decisions."""
    made = browser.new_context(viewport={"width": 1280, "height": 1000}).new_page()
    made.goto(f"{app.url}/explain?experiment=demo-recorded&step=150")
    made.locator(".js-plotly-plot .annotation-text-g").first.wait_for(timeout=120_000)
    return made


def test_zoom_survives_a_redraw(page: Page) -> None:
    chart = page.locator(".js-plotly-plot").first
    plot = chart.locator(".nsewdrag").first.bounding_box()
    assert plot is not None
    middle = plot["y"] + plot["height"] / 2
    page.mouse.move(plot["x"] + 100, middle)
    page.mouse.down()
    page.mouse.move(plot["x"] + 400, middle, steps=5)
    page.mouse.up()
    page.wait_for_timeout(1000)  # a second click within this time would be a double click
    zoomed, line = chart.evaluate(RANGE), chart.evaluate(DRAWN_LINE)
    assert zoomed[1] - zoomed[0] < 100
    page.get_by_role("button", name="First").click()
    expect(page.get_by_text("The decision at step 1", exact=True)).to_be_visible(timeout=120_000)
    for _ in range(100):
        if chart.evaluate(DRAWN_LINE) != line:
            break
        page.wait_for_timeout(100)
    assert chart.evaluate(DRAWN_LINE) != line, "the chart shows the old step"
    assert chart.evaluate(RANGE) == zoomed


def test_a_line_that_its_name_hid_stays_hidden(app: App, browser: Browser) -> None:
    page = drawn(app, browser, f"groups?{RUN}", 1280, 1000)
    chart = page.get_by_role("figure", name="Target similarity of each source")
    chart.scroll_into_view_if_needed(timeout=120_000)
    chart.locator(".annotation-text-g", has_text="Meal mood").click(timeout=120_000)
    page.wait_for_timeout(1000)
    hidden = chart.evaluate(HIDDEN)
    assert hidden and set(hidden) == {"Meal mood"}
    page.locator("h1").first.click()
    page.keyboard.press("r")  # the page is run again
    page.wait_for_timeout(3000)
    assert chart.evaluate(HIDDEN) == hidden


def test_what_is_not_seen_is_drawn_when_it_comes_near_or_is_printed(
    app: App, browser: Browser
) -> None:
    page = drawn(app, browser, f"groups?{RUN}", 1280, 500)
    waiting = page.locator(".dtvg-chart[data-waiting]")
    expect(waiting).not_to_have_count(0)
    last = waiting.last
    assert last.bounding_box()["height"] > 100 and last.get_attribute("aria-label")  # type: ignore[index]
    place = last.get_attribute("aria-label")
    chart = page.get_by_role("figure", name=place, exact=True)
    expect(chart.locator(".main-svg")).to_have_count(0)
    chart.scroll_into_view_if_needed()
    expect(chart.locator(".main-svg")).not_to_have_count(0)
    expect(waiting).not_to_have_count(0)
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    expect(waiting).to_have_count(0)


def test_a_chart_that_is_drawn_late_takes_over_the_zoom_of_its_group(
    app: App, browser: Browser
) -> None:
    page = drawn(app, browser, f"live?{RUN}", 900, 640)
    late = page.locator(".dtvg-chart[data-link][data-waiting]").last
    place = late.get_attribute("aria-label")
    page.locator(".js-plotly-plot[data-link]").first.evaluate(
        "chart => Plotly.relayout(chart, {'xaxis.range': [40, 80]})"
    )
    chart = page.get_by_role("figure", name=place, exact=True)
    chart.scroll_into_view_if_needed()
    expect(chart.locator(".main-svg")).not_to_have_count(0)
    page.wait_for_timeout(500)
    assert chart.evaluate(RANGE) == [40, 80]


@pytest.mark.parametrize("height", [0.02, 0.1, 0.98])
def test_a_click_on_the_chart_goes_to_that_step(page: Page, height: float) -> None:
    """On a bar, and beside every bar."""
    chart = page.locator(".js-plotly-plot").first
    plot = chart.locator(".nsewdrag").first.bounding_box()
    assert plot is not None
    at = plot["x"] + plot["width"] / 2, plot["y"] + height * plot["height"]
    page.mouse.move(*at)
    page.mouse.click(*at)
    page.wait_for_url(lambda url: "step=" in url and "step=150" not in url, timeout=60_000)
    expect(page.get_by_text("The decision at step", exact=False).first).to_be_visible()
    chosen = int(page.url.partition("step=")[2].partition("&")[0])
    assert 70 <= chosen <= 80


def test_no_request_leaves_the_machine(app: App, browser: Browser) -> None:
    page = browser.new_context().new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{app.url}/explain?experiment=demo-recorded")
    page.locator(".js-plotly-plot").first.wait_for(timeout=120_000)
    own = (app.url, app.url.replace("http", "ws"), "data:", "blob:")
    assert [url for url in asked if not url.startswith(own)] == []


def test_no_chart_offers_to_send_itself_to_another_machine(page: Page) -> None:
    bar = page.locator(".js-plotly-plot").first.locator(".modebar-btn")
    offered = bar.evaluate_all("all => all.map(one => one.dataset.title)")
    assert "Full screen" in offered
    assert not [title for title in offered if "hare" in title or "loud" in title]
