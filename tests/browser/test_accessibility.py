"""axe-core finds nothing of ours on any page; the keyboard, a phone and slow movers are served."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import App, served
from tests.pages.states import STATES, Recorded

axe = pytest.importorskip("axe_playwright_python.sync_playwright")
pytestmark = [pytest.mark.browser, pytest.mark.timeout(1800)]

FIRST = ("explain",)
"""What is looked at by default: the page with most kinds of elements."""
PAGES = (
    *FIRST, "", "launch", "run", "live", "fleet", "groups", "compare", "curves", "playground",
    "tasks", "share", "prompts",
)  # fmt: skip
VIEWS = (
    *(f"compare?view={v}" for v in ("Verdicts", "Claims", "Curves", "Transfer", "Who+helped")),
    *(f"compare?view={v}" for v in ("Subsets", "Settings", "Examples", "Cost")),
    *(f"groups?view={v}" for v in ("Story", "Combinations", "Weights", "Seeds", "Vectors")),
)
STREAMLITS_OWN = (
    '[data-testid="stSidebarNavItems"]',  # sections of pages are put into a list without items
    '[data-testid="stFileUploaderDropzone"]',  # a presentation that has a name
)
SETTLED = """() => document.querySelector('[data-testid=stApp]')
  ?.getAttribute('data-test-script-state') === 'notRunning'
  && !document.querySelector('[data-testid=stSpinner], [data-testid=stSkeleton]')
  && [...document.querySelectorAll('.dtvg-chart')]
    .every(c => c.dataset.waiting || c.querySelector('.main-svg'))"""
OVERFLOW = "() => { const m = document.querySelector('[data-testid=stMain]');" + (
    " return m.scrollWidth - m.clientWidth }"
)


def opened(browser: Browser, scheme: str = "light", width: int = 1280, **more: str) -> Page:
    size = {"width": width, "height": 844}
    return browser.new_context(viewport=size, color_scheme=scheme, **more).new_page()


def settle(page: Page, address: str) -> None:
    page.goto(address)
    page.locator("h1").first.wait_for(timeout=120_000)
    page.wait_for_function(SETTLED, timeout=240_000)


def faults(page: Page) -> list[str]:
    """Return what axe-core finds, without what Streamlit's own elements do wrong."""
    context = {"exclude": [[place] for place in STREAMLITS_OWN]}
    found = axe.Axe().run(page, context=context).response["violations"]
    return [f"{v['id']}: {n['html'][:120]}" for v in found for n in v["nodes"]]


@pytest.mark.parametrize("pages", [FIRST, pytest.param(PAGES, marks=pytest.mark.slow)])
def test_axe_finds_nothing_on_any_page(app: App, browser: Browser, pages: tuple[str, ...]) -> None:
    page = opened(browser, "dark")
    found = {}
    for name in pages:
        settle(page, f"{app.url}/{name}")
        found[name] = faults(page)
    assert not any(found.values()), found


@pytest.mark.parametrize("names", [("groups",), pytest.param(("explain",), marks=pytest.mark.slow)])
def test_a_phone_shows_the_first_chart_on_its_first_screen(
    app: App, browser: Browser, names: tuple[str, ...]
) -> None:
    page = opened(browser, width=390)
    for name in names:
        settle(page, f"{app.url}/{name}")
        assert page.evaluate(OVERFLOW) <= 0, name
        chart = page.locator(".dtvg-chart").first
        place = chart.bounding_box()
        assert place is not None and place["y"] < 800, f"{name}: the chart starts at {place}"
        said = chart.get_attribute("aria-label") or ""
        assert "Film mood: " in said, "the alternative text names no line"


WIDTHS = """all => all.filter(e => e.offsetParent)
  .map(e => e.getBoundingClientRect().width)"""
BOXES = ".st-key-experiment, .st-key-run, .st-key-second"


def test_charts_come_early_and_names_are_readable_at_every_width(
    app: App, browser: Browser
) -> None:
    page = opened(browser, width=390)
    for name in ("run", "compare"):
        settle(page, f"{app.url}/{name}")
        boxes = page.locator(BOXES).evaluate_all(WIDTHS)
        assert boxes and min(boxes) > 340, f"{name}: boxes of {boxes}"
        place = page.locator(".dtvg-chart").first.bounding_box()
        assert place is not None and place["y"] < 800, f"{name}: the chart starts at {place}"
    page.set_viewport_size({"width": 1280, "height": 900})
    for name, height in (("compare", 900), ("live", 768)):
        settle(page, f"{app.url}/{name}")
        place = page.locator(".dtvg-chart").first.bounding_box()
        assert place is not None and place["y"] < height - 50, f"{name}: the chart is at {place}"
    page.set_viewport_size({"width": 1700, "height": 900})
    settle(page, f"{app.url}/groups")
    heights = "e => [...e.children].slice(0, 2).map(c => c.getBoundingClientRect().height)"
    timeline, beside = page.locator(".st-key-wide-timeline").evaluate(heights)
    assert abs(timeline - beside) < 150, (timeline, beside)


CONTRASTS = """() => {
  const numbers = (text) => text.match(/[0-9.]+/g).slice(0, 3).map(Number)
  const light = (colour) => numbers(colour).map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0)
  const paper = light(getComputedStyle(document.querySelector("[data-testid=stCode] pre"))
    .backgroundColor)
  return [...document.querySelectorAll("[data-testid=stCode] .token")].map((token) => {
    const pair = [light(getComputedStyle(token).color), paper].sort()
    return (pair[1] + 0.05) / (pair[0] + 0.05)
  })
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_yaml_has_enough_contrast(scheme: str, app: App, browser: Browser) -> None:
    page = opened(browser, scheme)
    settle(page, f"{app.url}/launch")
    page.locator("[data-testid=stCode] .token.number").first.wait_for(
        state="attached", timeout=60_000
    )
    found = page.evaluate(CONTRASTS)
    assert len(found) > 20 and min(found) >= 4.5, min(found)


def test_the_list_of_upload_types_is_not_cut(app: App, browser: Browser) -> None:
    page = opened(browser)
    settle(page, f"{app.url}/tasks")
    told = page.locator("[data-testid=stFileUploaderDropzoneInstructions] span").first
    told.wait_for(state="attached", timeout=60_000)
    assert "YML" in (told.text_content() or "")
    assert told.evaluate("e => e.scrollWidth - e.clientWidth") <= 0


@pytest.mark.slow
def test_filters_fold_on_a_phone_only(app: App, browser: Browser) -> None:
    page = opened(browser, width=390)
    settle(page, f"{app.url}/live")
    fold, inside = page.locator(".dtvg-fold"), page.get_by_text("Logarithmic axis")
    assert fold.is_visible() and not inside.is_visible()
    fold.click()
    inside.wait_for(state="visible")
    page.set_viewport_size({"width": 1280, "height": 844})
    assert inside.is_visible() and not fold.is_visible()


def test_the_keyboard_reaches_the_page_and_shows_where_it_is(app: App, browser: Browser) -> None:
    page = opened(browser, reduced_motion="reduce")
    settle(page, f"{app.url}/explain?step=100")
    slider = page.get_by_role("slider").first
    slider.focus()
    page.keyboard.press("ArrowLeft")
    page.get_by_text("The decision at step 99", exact=True).wait_for(timeout=60_000)
    outline = "e => getComputedStyle(e).outlineStyle + getComputedStyle(e).transitionDuration"
    button = page.get_by_role("button", name="First")
    button.focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    said = button.evaluate(outline)
    assert said.startswith("solid") and float(said[5:].split("s")[0].split(",")[0]) < 0.01, said


def test_keys_step_search_and_compare(app: App, browser: Browser) -> None:
    page = opened(browser)
    settle(page, f"{app.url}/explain?step=100")
    title = page.get_by_role("heading", name="Explain", exact=True)
    title.click()
    page.keyboard.press("n")
    page.get_by_text("The decision at step 101", exact=True).wait_for(timeout=60_000)
    page.keyboard.press("b")
    page.get_by_text("The decision at step 100", exact=True).wait_for(timeout=60_000)
    page.keyboard.press("/")
    focused = "document.activeElement.getAttribute('role')"
    assert page.evaluate(focused) == "combobox"
    page.keyboard.type("v")  # typed, not meant
    page.keyboard.press("Escape")
    page.wait_for_function("document.activeElement.getAttribute('role') !== 'combobox'")
    assert "/explain" in page.url
    page.keyboard.press("v")
    page.get_by_role("heading", name="Compare", exact=True).wait_for(timeout=60_000)
    assert "/compare" in page.url


def test_tab_stops_once_above_a_chart_and_arrows_go_along(app: App, browser: Browser) -> None:
    page = opened(browser)
    settle(page, f"{app.url}/groups?experiment=demo-recorded")
    chart = page.locator(".dtvg-chart").first
    buttons = chart.locator(".modebar-btn")
    buttons.nth(6).wait_for(state="attached", timeout=60_000)
    stops = "all => all.map((b, i) => (b.tabIndex === 0 ? i : -1)).filter(i => i >= 0)"
    assert buttons.count() > 5 and buttons.evaluate_all(stops) == [0]
    buttons.first.focus()
    page.keyboard.press("ArrowRight")
    expect(buttons.nth(1)).to_be_focused()
    assert buttons.evaluate_all(stops) == [1]
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(buttons.last).to_be_focused()
    page.keyboard.press("Home")
    expect(buttons.first).to_be_focused()
    page.keyboard.press("Tab")
    outside = "!document.activeElement.closest('.modebar')"
    assert page.evaluate(outside)
    page.keyboard.press("Shift+Tab")
    expect(buttons.first).to_be_focused()


def test_a_button_that_cannot_be_pressed_is_read(app: App, browser: Browser) -> None:
    page = opened(browser, "light")
    settle(page, f"{app.url}/launch?set={{optim.steps: abc}}")
    start = page.get_by_role("button", name="Start", exact=True)
    assert start.is_disabled()
    seen = "e => [getComputedStyle(e).color, getComputedStyle(e.querySelector('p')).color]"
    assert set(start.evaluate(seen)) == {"rgb(82, 96, 109)"}  # look.MUTED


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280, 1600, 2560])
def test_axe_finds_nothing_in_any_view(app: App, browser: Browser, scheme: str, width: int) -> None:
    page = opened(browser, scheme, width)
    found = {}
    for name in (*PAGES, *VIEWS):
        settle(page, f"{app.url}/{name}")
        wide = page.evaluate(OVERFLOW)
        found[name] = faults(page) + [f"{wide} pixels too wide"] * (wide > 0)
    assert not any(found.values()), found


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    made = Recorded.make(Path(tmp_path_factory.mktemp("states")))
    yield made
    made.end()


@pytest.mark.slow
@pytest.mark.parametrize("state", STATES)
def test_axe_finds_nothing_in_any_state(recorded: Recorded, browser: Browser, state: str) -> None:
    with served(recorded.home(state).path) as app:
        found = {}
        for scheme in ("light", "dark"):
            page = opened(browser, scheme)
            for name in PAGES:
                settle(page, f"{app.url}/{name}")
                found[f"{name} {scheme}"] = faults(page)
    assert not any(found.values()), found
