"""What is clicked while a page is still being drawn comes with the URL of before, and counts."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from dtvg.ui import address

LAST = 150


class Url(dict):
    """Streamlit's query parameters, without a browser."""

    def get_all(self, key: str) -> list[str]:
        return [self[key]]

    def from_dict(self, values: dict[str, str]) -> None:
        self.clear()
        self.update(values)


class Clicked(BaseException):
    """What Streamlit interrupts a page with."""


@pytest.fixture
def st(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    made = SimpleNamespace(session_state={}, query_params=Url())
    monkeypatch.setattr(address, "st", made)
    return made


def asks_for(st: SimpleNamespace, **query: str) -> None:
    """A request arrives with the URL that the browser had when it was sent."""
    st.query_params.from_dict(query)


def choose_step() -> int:
    step = address.recall("step", address.whole(1, LAST), LAST)
    address.keep("step", step, LAST)
    return step


def draw(interrupted: bool = False) -> int:
    """A page with a choice of its own and a step that is chosen in a part of it."""
    with address.of_page("explain"):
        address.recall("run", str, "first")
        address.keep("run", "first")
        step = choose_step()
        if interrupted:
            raise Clicked
    return step


def test_a_part_of_the_page_follows_what_was_clicked_not_the_url_of_before(
    st: SimpleNamespace,
) -> None:
    asks_for(st, step="150")
    assert draw() == LAST
    assert st.query_params == {"run": "first"}  # the newest step is not written
    st.session_state["step"] = 1  # the button's callback
    asks_for(st, step="150")  # it was clicked before the page had written its URL
    assert choose_step() == 1
    assert st.query_params == {"run": "first", "step": "1"}
    assert draw() == 1


def test_a_page_that_is_interrupted_does_not_take_its_url_for_a_new_one(
    st: SimpleNamespace,
) -> None:
    asks_for(st, step="150")
    with pytest.raises(Clicked):
        draw(interrupted=True)
    st.session_state["step"] = 7
    asks_for(st, step="150")
    assert draw() == 7
    assert st.query_params == {"run": "first", "step": "7"}


def test_links_and_the_way_back_win_over_the_session(st: SimpleNamespace) -> None:
    asks_for(st, step="90")
    assert draw() == 90
    asks_for(st, run="first", step="20")
    with pytest.raises(Clicked):  # whatever interrupts it, the link has been read
        draw(interrupted=True)
    assert draw() == 20
    asks_for(st, run="first")  # back, to where no step stood
    assert draw() == LAST
