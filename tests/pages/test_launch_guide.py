"""The start "My target": what it proposes and why; the data folder that is typed or browsed."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from streamlit.testing.v1 import AppTest

from dtvg import paths
from dtvg.analysis import proposal
from dtvg.analysis.claims.blocks import plain_label
from dtvg.analysis.proposal import propose, spread_for
from dtvg.analysis.statistics import paired_power
from dtvg.methods.specs import OWN_METHODS, Kind, by_kind
from dtvg.store.reader import list_experiments
from dtvg.tasks import data_folder
from tests.analysis.factory import config, record

PAGE = Path(__file__).resolve().parents[2] / "pages" / "launch.py"


def _page(**query: str) -> AppTest:
    page = AppTest.from_file(str(PAGE), default_timeout=60)
    for name, value in query.items():
        page.query_params[name] = value
    page.run()
    assert not page.exception and not page.error
    return page


def test_every_method_of_ours_is_of_a_kind_and_listed_once() -> None:
    assert all(spec.kind is not Kind.OTHER for spec in OWN_METHODS.values())
    listed = [name for names in by_kind().values() for name in names]
    assert len(set(listed)) == len(listed) and set(OWN_METHODS) <= set(listed)


def test_seeds_are_those_that_show_the_effect_at_the_recorded_spread() -> None:
    found = list_experiments(paths.examples())
    spread = spread_for("who-sent", "demo", found)
    assert spread.seeds >= 3 and "recorded on who-sent" in spread.source
    made = propose("who-sent", "demo", 5.0, found, [], lambda name: True)
    assert made.seeds == len(made.values["seeds"])
    assert paired_power(5.0 / spread.points, made.seeds) >= 0.8
    if made.seeds > 3:
        assert paired_power(5.0 / spread.points, made.seeds - 1) < 0.8
    assert "who-sent" not in made.values["sources"]
    guessed = propose("cb", "google-t5/t5-base", 2.0, found, [], lambda name: name != "boolq")
    assert "a guess" in guessed.why[-1] and "boolq" not in guessed.values["sources"]


def test_the_guide_fills_the_form_and_a_wrong_address_keeps_what_was_right() -> None:
    page = _page(preset="guide", target="who-sent", effect="-4")
    assert page.number_input(key="effect").value == 2.0
    page.number_input(key="effect").set_value(8.0).run()
    made = yaml.safe_load(page.code[0].value)
    assert made["targets"] == ["who-sent"] and made["hypothesis"]["margin"] == 8
    told = "\n".join(m.value for m in page.markdown)
    assert "80 % of such experiments" in told and "for this one comparison" in told
    assert "The difference between DTVG and no transfer is taken" in told
    assert "recorded on Who sent with" in told and "who-sent" not in told
    assert "Do other tasks help Who sent?" in made["notes"]
    folded = " ".join(e.label for e in page.expander)
    assert "better DTVG, than No transfer, on Who sent" in folded
    gone = _page(preset="guide", target="\U0001f98a" * 400)
    assert "There is no target" in gone.warning[0].value


def test_few_rows_of_one_s_own_task_get_the_few_shot_budget(own_home: Path) -> None:
    tasks = own_home / "tasks"
    tasks.mkdir()
    rows = "".join(f"plot {i},{'good' if i % 2 else 'bad'}\n" for i in range(60))
    (tasks / "reviews.csv").write_text("review,verdict\n" + rows)
    (tasks / "reviews.yaml").write_text(
        'files: reviews.csv\ntext: "{review}"\nlabel: verdict\nlabels: [bad, good]\n'
    )
    page = _page(preset="guide", target="reviews", backbone="google-t5/t5-small")
    told = "\n".join(m.value for m in page.markdown)
    assert "the few-shot comparison, since it has few rows" in told
    assert yaml.safe_load(page.code[0].value)["optim"]["steps"] == 1000


def test_a_folder_is_looked_into_browsed_and_remembered(tmp_path: Path) -> None:
    place = tmp_path / "sets"
    for name in ("superglue_cb", "other"):
        (place / name).mkdir(parents=True)
    rows = pa.table({"premise": ["p"], "hypothesis": ["h"], "label": [0]})
    for split in ("train", "validation"):
        pq.write_table(rows, place / "superglue_cb" / f"{split}.parquet")
    page = _page(preset="guide", target="cb")
    assert page.text_input(key="guide-folder").value == ""
    page.text_input(key="guide-folder").set_value(str(tmp_path / "nothing" / "here")).run()
    told = "\n".join(m.value for m in page.markdown).replace("\\", "")
    assert f"There is no folder '{tmp_path}/nothing/here'; '{tmp_path}' exists." in told
    page.button(key="guide-folder:in:sets").click().run()
    page.button(key="guide-folder:use").click().run()
    assert page.text_input(key="guide-folder").value == str(place)
    told = "\n".join(c.value for c in page.caption).replace("\\", "")
    assert f"{place} holds cb." in told
    assert data_folder.remembered() == [str(place)]
    again = _page(preset="guide", target="cb")
    assert again.text_input(key="guide-folder").value == str(place)
    assert yaml.safe_load(again.code[0].value)["data"]["folder"] == str(place)


def test_wrong_things_typed_in_addresses_are_sentences_and_lose_nothing() -> None:
    page = _page(set="{optim.steps: abc, optim.batch_size: -3, name: " + "n" * 400 + "}")
    told = "\n".join(m.value for m in page.markdown).replace("\\", "")
    for said in ("'optim.steps'", "'optim.batch_size'", "'name'"):
        assert said in told
    shown = next(w for w in page.text_input if w.key.endswith("/name"))
    assert shown.value == "n" * 400
    for odd in ("{[", "[1, 2]", "\U0001f98a", "{optim: {}}", "{optim.steps: {a: 1}}", "a" * 4000):
        assert [b for b in _page(set=odd).button if b.label.startswith(("Start", "Queue"))]


def test_the_spread_to_plan_with_is_read_also_at_rates_of_their_own(tmp_path: Path) -> None:
    """As methods have after `dtvg tune`: it was a guess, since none of them was found."""
    tuned = [{"name": name, "lr": rate} for name in ("none", "dtvg") for rate in (0.1, 0.2)]
    made = record(tmp_path, config("tuned", methods=tuned, targets=["lake"]))
    found = spread_for("lake", "", [made])
    assert found.seeds == 3 and found.source.startswith("recorded on lake")


def test_the_spread_to_plan_with_parses_one_configuration_of_all_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page asks all experiments there are, and each file takes milliseconds."""
    made = record(
        tmp_path,
        config("many", methods=["none", "dtvg"], targets=["lake"], seeds=list(range(9))),
    )
    parsed: list[str] = []
    monkeypatch.setattr(
        proposal, "plain_label", lambda run: parsed.append(run.method) or plain_label(run)
    )
    assert spread_for("lake", "", [made]).seeds == 9
    assert sorted(parsed) == ["dtvg", "none"]
