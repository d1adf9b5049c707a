"""The playground's page asks the prompts that are chosen, and shows what they say."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dtvg import paths
from dtvg.analysis.compare.examples import input_texts
from dtvg.errors import JobError
from dtvg.store.playground import Answered, Prompted, Told
from dtvg.store.reader import open_run, read_table
from dtvg.ui import forms, playground

PAGE = Path(__file__).resolve().parents[2] / "pages" / "playground.py"


def test_prompts_are_asked_and_their_answers_shown(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, list[Prompted]]] = []

    def ask(text: str, prompts: list[Prompted]) -> Answered:
        asked.append((text, prompts))
        if "unheard" in text:
            raise JobError("Nothing was answered within 1 s.")
        told = [Told(answer=f"answer {n}", labels={"1": 0.9, "2": 0.1}) for n in range(2)]
        return Answered(told=[*told, Told(refused="It cannot be asked.")], seconds=0.1)

    monkeypatch.setattr(playground, "ask", ask)
    page = AppTest.from_file(str(PAGE), default_timeout=60)
    page.query_params["run"], page.query_params["without"] = "trip-mood.dtvg.s0", "film-mood"
    page.run()
    assert not page.exception and not page.error
    example = page.text_area[0].value  # an example of the task
    assert example
    next(b for b in page.button if b.label == "Ask").click().run()
    (right,) = [m.value for m in page.markdown if m.value.startswith("Right answer: ")]
    run = open_run(paths.examples() / "demo-recorded" / "trip-mood.dtvg.s0")
    rows = read_table(run, "predictions", ["row", "fingerprint", "target"]).to_pylist()
    inputs = input_texts(run, "test", [row["row"] for row in rows])
    (known,) = {row["target"] for row in rows if inputs.get(row["fingerprint"]) == example}
    assert right == f"Right answer: **{known}**"
    asked.clear()
    page.text_area[0].set_value("a fine trip").run()
    next(b for b in page.button if b.label == "Ask").click().run()
    assert not page.exception
    ((text, prompts),) = asked
    assert text == "a fine trip" and [p.without for p in prompts] == ["", "", "film-mood"]
    assert prompts[1].run.endswith("trip-mood.none.s0")  # the same seed without transfer
    said = [m.value for m in page.markdown]
    assert "**answer 0**" in said and "**answer 1**" in said
    assert not any(text.startswith("Right answer") for text in said)  # of one's own input
    assert [w.value for w in page.warning] == ["It cannot be asked."]
    page.text_area[0].set_value("unheard").run()
    assert "**answer 0**" not in [m.value for m in page.markdown]  # of another input
    next(b for b in page.button if b.label == "Ask").click().run()
    assert [e.value for e in page.error] == ["Nothing was answered within 1 s."]


def test_answers_are_shown_as_they_stand(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(text: str, prompts: list[Prompted]) -> Answered:
        told = [Told(answer="a * b * c :red[d]"), Told(answer="$5 or $6 [x](y)")]
        return Answered(told=told, seconds=0.1)

    monkeypatch.setattr(playground, "ask", ask)
    page = AppTest.from_file(str(PAGE), default_timeout=60).run()
    next(b for b in page.button if b.label == "Ask").click().run()
    shown = [m.value for m in page.markdown]
    assert f"**{forms.escape('a * b * c :red[d]')}**" in shown and not page.exception
    assert f"**{forms.escape('$5 or $6 [x](y)')}**" in shown
