"""Sources that learned nothing, before a start and in a run: what is wrong, and how far it counts.

A zero vector has similarity 0 and so is a candidate at the usual cut; a prompt no better than
guessing is one as well. docs/run_files.md "Health".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from dtvg.analysis.run.groups import GroupInfo
from dtvg.analysis.words import percent
from dtvg.config import ExperimentConfig
from dtvg.config.stage_one import tuning_settings
from dtvg.store.bank import ADVICE, AT_MAJORITY, NOT_MOVED, TaskPrompt, health
from dtvg.store.health import weak_sources
from dtvg.store.reader import Run

WEAK = (NOT_MOVED, AT_MAJORITY)
COLUMNS = ["source", "health", "candidate_share", "member_share", "advice"]


def source_health(run: Run, info: GroupInfo | None = None) -> pd.DataFrame:
    """Return the sources of a run that had learned nothing.

    Args:
        run: whose.
        info: its groups; None: shares of steps are not known.

    Returns:
        `COLUMNS`, a source a row; shares of steps are NaN for methods that know no candidates.
    """
    shares: dict[str, tuple[float, float]] = {}
    if info is not None and len(info.steps):
        knows = bool((info.n_candidates >= 0).any())
        for place, source in enumerate(info.sources):
            candidate = float(info.candidate[:, place].mean()) if knows else np.nan
            shares[source] = (candidate, float(info.member[:, place].mean()))
    rows = [
        (source, state, *shares.get(source, (np.nan, np.nan)), ADVICE.get(state, ""))
        for source, state in weak_sources(run).items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


OF_SEVERAL = {
    NOT_MOVED: "Their best prompts are the initial ones, because no step scored better on "
    "validation. So their vectors are zero and add nothing. Tune them longer or with another "
    "learning rate, or leave them out.",
    AT_MAJORITY: "They score no better than always giving the commonest answer, so as sources "
    "they add noise. Tune them longer or with another learning rate.",
}
"""`ADVICE` where several sources need it."""


def source_sentences(table: pd.DataFrame) -> list[str]:
    """Return what is wrong in sentences, once for all sources of `source_health` that have it."""
    said = []
    for state in dict.fromkeys(table["health"]):
        rows = table[table["health"] == state]
        names = list(rows["source"])
        if len(names) == 1:
            start, advice, who = f"Source {names[0]}", str(rows["advice"].iloc[0]), "It was"
        else:
            start = f"Sources {', '.join(names[:-1])} and {names[-1]}"
            advice, who = OF_SEVERAL[state], "They were"
        said.append(f"{start}: {state}. {advice}{_counted(rows, who)}")
    return said


def _counted(rows: pd.DataFrame, who: str) -> str:
    """Say in how many of the steps sources took part; nothing where that is not known."""
    candidate, member = _shares(rows["candidate_share"]), _shares(rows["member_share"])
    if candidate and member:
        what = "a candidate" if len(rows) == 1 else "candidates"
        return f" {who} {what} in {candidate} of the steps and in the group in {member}."
    return f" {who} merged in {member} of the steps." if member else ""


def _shares(values: pd.Series) -> str:
    """Return shares in percent, said once where they are equal; empty where one is unknown."""
    if not np.isfinite(values.to_numpy(dtype=np.float64)).all():
        return ""
    texts = [percent(value) for value in values]
    return texts[0] if len(set(texts)) == 1 else ", ".join(texts)


def planned_sources(
    config: ExperimentConfig, prompts: Sequence[TaskPrompt]
) -> dict[str, dict[int, str]]:
    """Return which sources of a planned experiment are in the bank and learned nothing.

    Args:
        config: what would start.
        prompts: of the bank.

    Returns:
        Source → seed → what is wrong.
    """
    found: dict[str, dict[int, str]] = {}
    for source in config.sources:
        for seed in config.seeds:
            prompt = _in_bank(config, source, seed, prompts)
            state = "" if prompt is None else health(prompt)
            if state in WEAK:
                found.setdefault(source, {})[seed] = state
    return found


def _in_bank(
    config: ExperimentConfig, source: str, seed: int, prompts: Sequence[TaskPrompt]
) -> TaskPrompt | None:
    """Return the prompt that a source would start from, as far as that can be told without it."""
    key = config.prompt.given.get(source)
    if key is not None:
        given = [p for p in prompts if p.fingerprint.startswith(key)]
        return given[0] if len(given) == 1 else None
    wanted = tuning_settings(config.stage_one(source, seed))
    for prompt in prompts:
        have = (prompt.task, prompt.backbone, prompt.seed, prompt.precision, len(prompt.prompt))
        same = have == (
            *(source, config.backbone.name, seed),
            *(config.device.precision, config.prompt.length),
        )
        if same and _plain(prompt.settings) == _plain(wanted):
            return prompt
    return None


def _plain(settings: Mapping[str, object]) -> dict[str, object]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in settings.items()}


def planned_sentences(found: Mapping[str, Mapping[int, str]]) -> list[str]:
    """Return one sentence for each source of `planned_sources`."""
    said = []
    for source, seeds in found.items():
        for state in dict.fromkeys(seeds.values()):
            of = [seed for seed, one in seeds.items() if one == state]
            many = f"seed{'' if len(of) == 1 else 's'} {', '.join(map(str, of))}"
            said.append(
                f"Source {source} ({many}): {state}. {ADVICE[state]} "
                "It still counts as a candidate."
            )
    return said
