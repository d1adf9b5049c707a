"""Names that Streamlit or Markdown would read in their own way are names like any other."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from streamlit.testing.v1 import AppTest

from dtvg.ui import forms, prompts
from dtvg.ui.overview import card
from tests.analysis.factory import config, record

ROOT = Path(__file__).resolve().parents[2]
NAME = "__x__"


def _opened(page: str, **query: str) -> AppTest:
    made = AppTest.from_file(str(ROOT / "pages" / f"{page}.py"), default_timeout=60)
    for key, value in query.items():
        made.query_params[key] = value
    return made.run()


@pytest.fixture
def home(own_home: Path) -> Path:
    record(own_home / "runs", config(NAME, targets=["lake"], seeds=[0]), steps=20)
    return own_home


@pytest.mark.parametrize("page", ["overview", "live", "run", "groups", "explain", "compare"])
def test_a_name_with_two_underscores_has_its_charts(home: Path, page: str) -> None:
    query = {} if page == "overview" else {"experiment": NAME}
    made = _opened(page, **query)
    assert not made.exception and not made.error
    assert made.get("bidi_component")


def test_a_card_that_fails_leaves_the_rest_of_the_overview(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(card, "_timeline", lambda *_: 1 / 0)
    made = _opened("overview")
    assert not made.exception and len(made.error) == 1
    assert made.dataframe


EVIL = "![x](http://evil.example/t.png) [click](http://evil.example) *a*_b_ $x^2$ :red[r]"


@pytest.mark.parametrize(
    ("page", "query"),
    [
        ("explain", {"experiment": EVIL}),
        ("explain", {"experiment": NAME, "run": EVIL}),
        ("explain", {"experiment": NAME, "step": EVIL}),
        ("explain", {"experiment": NAME, "rule": EVIL}),
        ("groups", {"experiment": NAME, "view": EVIL}),
        ("compare", {"runs": f"{NAME}/{EVIL}"}),
        ("curves", {"runs": f"{NAME}/{EVIL}"}),
        ("overview", {"filter": EVIL}),
        ("tasks", {"task": "trip-mood", "with": EVIL}),
        ("launch", {"clone": f"{NAME}/{EVIL}"}),
    ],
)
def test_what_an_address_says_is_shown_as_it_stands(
    home: Path, page: str, query: dict[str, str]
) -> None:
    made = _opened(page, **query)
    assert not made.exception
    said = [e.value for e in (*made.warning, *made.error, *made.info, *made.caption)]
    shown = [text for text in said if "evil.example" in text or "red" in text]
    assert shown
    for text in shown:
        assert not re.search(r"(?<!\\)[\[*$]|(?<!\\)_b|:red", text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("![x](http://a)", r"!\[x\](http&#58;//a)"),
        ("*a* _b_ __c__ ~d~", r"\*a\* \_b\_ \_\_c\_\_ \~d\~"),
        ("$x^2$ :red[r] :material/home:", r"\$x^2\$ &#58;red\[r\] &#58;material/home:"),
        ("<b> # | \\ &lt;", r"\<b\> \# \| \\ \&lt;"),
        ("- a", r"\- a"),
        ("1. a", r"1\. a"),
        ("one\n\n# two", r"one \# two"),
        ("try `dtvg runs list`: a", "try `dtvg runs list`: a"),
        ("a ` b", r"a \` b"),
        ("``a`", r"\`\`a\`"),
    ],
)
def test_text_is_shown_as_it_stands(text: str, shown: str) -> None:
    assert forms.escape(text) == shown


OWN = """\
title: "$g$ ![x](http://evil.example/t.png)"
files: {train: reviews.csv}
text: "review: {review}"
label: verdict
labels: {bad: "$g$", good: "*fine*"}
metrics: [accuracy]
"""


def test_a_title_and_labels_of_one_s_own_are_no_markdown(own_home: Path) -> None:
    place = own_home / "tasks"
    place.mkdir(parents=True)
    (place / "mine.yaml").write_text(OWN)
    rows = "".join(f"text {n},{('bad', 'good')[n % 2]}\n" for n in range(40))
    (place / "reviews.csv").write_text(f"review,verdict\n{rows}")
    made = _opened("tasks", task="mine")
    assert not made.exception and not made.error
    cells = " ".join(map(str, made.table[0].value.to_numpy().ravel()))
    assert r"\$g\$" in cells and not re.search(r"(?<!\\)[$\[]", cells)


def test_what_a_file_that_is_no_experiment_is_called_is_no_markdown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = AppTest.from_file(str(ROOT / "pages" / "share.py"), default_timeout=60).run()
    made.file_uploader(key="experiment-file").set_value(("a $x$ *b*.zip", b"none", "x/zip"))
    next(b for b in made.button if b.label == "Import").click().run()
    (told,) = [e.value for e in made.error]
    assert r"a \$x\$ \*b\*.zip" in told


def test_a_prompt_s_description_alone_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(prompts.st, "error", said.append)
    monkeypatch.setattr(prompts, "run_import", lambda *_: pytest.fail("it holds no prompt"))
    described = SimpleNamespace(name="adapter_config.json", getvalue=lambda: b"{}")
    prompts._import([described], None, "mnli", "", "")
    assert "only describes an adapter" in said[0]
