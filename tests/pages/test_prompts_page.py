"""The prompts page: one bad entry never takes it down; prompts go to the trash and come back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from streamlit.testing.v1 import AppTest

from dtvg.store import digests, trash
from dtvg.store.bank import PromptBank, TaskPrompt
from dtvg.store.files import read_json

PAGE = Path(__file__).resolve().parents[2] / "pages" / "prompts.py"


def _put(bank: PromptBank, task: str, seed: int = 0, more: str = "") -> Path:
    rng = np.random.default_rng(len(task))
    init = rng.normal(size=(2, 4)).astype(np.float32)
    key = f"{abs(hash(task + more)):016x}"[:16]
    bank.put(
        TaskPrompt(
            task, ("0", "1"), "demo", "", seed, init, init + 1, 0.9, {}, key, "float32", {}, 1.0
        )
    )
    return bank.root / f"{task}-{key}"


def _page() -> AppTest:
    app = AppTest.from_file(str(PAGE), default_timeout=60).run()
    assert not app.exception and not app.error
    return app


def test_bad_entries_are_named_and_deleted_and_good_ones_come_back(own_home: Path) -> None:
    bank = PromptBank()
    good = [_put(bank, "mnli"), _put(bank, "qqp")]
    for name, changed in (("cb", {"seed": 10**21}), ("sst2", {"score": "high"}),
                          ("boolq", {"created": 1e300}), ("copa", {"labels": 3})):  # fmt: skip
        folder = _put(bank, name)
        facts = {**(read_json(folder / "prompt.json") or {}), **changed}
        text = json.dumps(digests.with_digest(facts))
        (folder / "prompt.json").write_text(text)
    app = _page()
    assert sorted(app.dataframe[0].value["task"]) == ["MNLI", "QQP"]
    told = " ".join(w.value for w in app.warning)
    assert all(name in told for name in ("'cb-", "'sst2-", "'boolq-", "'copa-"))
    chosen = app.multiselect(key="prompts-to-delete")
    assert len(chosen.value) == 4  # the damaged ones are proposed
    chosen.set_value([*chosen.value, good[1].name])
    next(b for b in app.button if b.label == "Move to the trash").click()
    app.run()
    assert not app.exception and not app.error and not app.warning
    assert list(app.dataframe[0].value["task"]) == ["MNLI"]
    assert trash.restore(f"prompts/{good[1].name}").origin == good[1]
    assert [p.task for p in bank.list()] == ["mnli", "qqp"]


def test_of_two_prompts_of_one_task_and_seed_the_chosen_one_is_deleted(own_home: Path) -> None:
    bank = PromptBank()
    both = [_put(bank, "mnli", more=more) for more in ("short", "long")]
    for chosen in both:
        app = _page()
        app.multiselect(key="prompts-to-delete").set_value([chosen.name]).run()
        next(b for b in app.button if b.label == "Move to the trash").click()
        app.run()
        assert not app.exception and not app.error
        assert [path.exists() for path in both] == [path != chosen for path in both]
        trash.restore(f"prompts/{chosen.name}")
