"""The overview's first card: what the newest experiment showed, in one sentence and a timeline.

What can be read at once is drawn at once; what has to be tested first is filled in when the rest
of the page stands. Must not import torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dtvg.analysis import titles
from dtvg.analysis.overview import learned as answers
from dtvg.analysis.overview.learned import Learned, Rival, points_text
from dtvg.analysis.overview.progress import losses
from dtvg.figures.groups import timeline_figure
from dtvg.figures.spoken import spoken
from dtvg.figures.titled import titled
from dtvg.store.reader import Experiment, Run
from dtvg.ui import cache, forms, runs, show
from dtvg.ui.chart import chart
from dtvg.ui.overview.claims import chips
from dtvg.ui.page import guarded, is_dark, link
from dtvg.ui.show import counted

SHORT = 17
"""Pixels of a row of the small timeline."""
NOTHING_TESTED = "for reference, not tested"


@dataclass(frozen=True)
class Told:
    """The card that was drawn, and where its tested half goes."""

    experiment: Experiment
    target: str
    answer: DeltaGenerator
    rest: DeltaGenerator


def draw(experiments: Sequence[Experiment]) -> Told | None:
    """Draw the card of the newest experiment that grouped sources.

    Runs of the newest experiment that failed or were lost are told at once, in the card or, where
    the card is about another experiment, below it.

    Returns:
        What `fill` completes; None where there is nothing to tell yet.
    """
    told = _card(experiments)
    newest = next((e for e in experiments if not cache.is_example(e.path)), None)
    if newest is not None and (told is None or told.experiment.path != newest.path):
        _losses(newest, f"The newest experiment, {newest.name}: ")
    return told


def _losses(experiment: Experiment, whose: str = "") -> None:
    """Say which runs failed or were lost, with a way to where they are resumed."""
    sentence = losses(experiment)
    if sentence:
        st.warning(f"{forms.escape(whose)}{forms.escape(sentence)}", icon=":material/warning:")
        link("live", "Live: see what happened, and resume", experiment=experiment.name)


def _card(experiments: Sequence[Experiment]) -> Told | None:
    """Draw the card where there is something to tell."""
    experiment = answers.worth_telling(experiments)
    if experiment is None:
        return None
    found = answers.grouping_runs(experiment)
    targets = list(dict.fromkeys(run.target for run in found))
    with st.container(border=True, key="learned"):
        example = " (recorded example)" if cache.is_example(experiment.path) else ""
        st.caption(f"What the newest experiment showed: `{experiment.name}`{example}")
        target = (
            runs.tabs("Target", targets, "about", titles.task) if len(targets) > 1 else targets[0]
        )
        first = look(experiment, target, tested=False)
        names = names_in(experiment, target)
        st.header(titles.in_sentence(first.question, names), anchor=False)
        answer = st.empty()
        answer.markdown(f"**{titles.in_sentence(first.answer, (*names, first.subject))}**")
        _losses(experiment)
        _timeline(experiment, target)
        told = Told(experiment, target, answer, st.empty())
        told.rest.caption("How sure this is will stand here in a moment.")
        _links(experiment, target)
    return told


def names_in(experiment: Experiment, target: str) -> tuple[str, ...]:
    """Return the tasks that the card's sentences may name."""
    return (*(experiment.config.sources if experiment.config else ()), target)


def fill(told: Told | None) -> None:
    """Complete the card with what is tested: the answer, how sure it is, and the comparison."""
    if told is None:
        return
    experiment, target = told.experiment, told.target
    everyone, left_out = answers.looked_at(experiment, target)
    if left_out:
        every = {run.seed for run in answers.grouping_runs(experiment, target)}
        seen = counted(len({run.seed for run in everyone} & every), "seed")
        over = f"the first {seen}" if len(every) > answers.MOST_SEEDS else seen
        told.rest.caption(
            f"Over {over}. Whether this is more than chance is tested on the compare page."
        )
        return

    def tested() -> None:
        made = look(experiment, target, tested=True)
        names = names_in(experiment, target)
        told.answer.markdown(f"**{titles.in_sentence(made.answer, (*names, made.subject))}**")
        with told.rest.container():
            st.markdown(titles.in_sentence(made.sureness, (*names, made.subject)))
            _rivals(made)
            found = chips(everyone)
            if found:
                badges = " ".join(chip.badge for chip in found)
                st.markdown(f"The paper's claims on these runs: {badges}")
                link("compare", "All claims", experiment=experiment.name, view="Claims")

    guarded(tested)


_by_hand = cache.remember(32, reads=("events",))(answers.held_by_hand)


def look(experiment: Experiment, target: str, tested: bool) -> Learned:
    """Return what an experiment showed about a target.

    Args:
        experiment: with runs that grouped sources.
        target: one of theirs.
        tested: with verdicts, which take a moment when first asked for.
    """
    everyone, _ = answers.looked_at(experiment, target)
    seeds = {run.seed for run in everyone}
    mine = [run for run in answers.grouping_runs(experiment, target) if run.seed in seeds]
    alone = cache.transfer(everyone, "test") if tested and _has_singles(everyone) else None
    infos = cache.shares(tuple(mine))
    compared = cache.compare(everyone, "test", mine[0].method)
    by_hand = _by_hand(tuple(mine))
    return answers.learned(experiment, target, infos, compared, alone, tested, by_hand)


def _has_singles(everyone: Sequence[Run]) -> bool:
    return any(run.full_role.value == "single" for run in everyone)


def _rivals(made: Learned) -> None:
    """Show the method's score and those it is set against."""
    with st.container(horizontal=True):
        st.metric(titles.method(made.subject), show.percent(made.score), width="content")
        for rival in made.rivals:
            st.metric(
                titles.label(rival.title),
                show.percent(rival.score),
                f"{titles.method(made.subject)} {points_text(rival.difference)}{_on(rival, made)}",
                delta_color="off",
                delta_arrow="off",
                width="content",
                help=_said(rival, made.subject),
            )


def _on(rival: Rival, made: Learned) -> str:
    """Name the seeds behind a score and a difference, where not all of both are.

    The method's own score on these seeds is named where it is not that of its tile.
    """
    if rival.seeds is None:
        return ""
    own = show.percent(rival.subject_score)
    other = "" if own == show.percent(made.score) else f" ({own})"
    return f"{other} on {counted(rival.seeds, 'common seed')}"


def _said(rival: Rival, subject: str) -> str:
    over = ""
    if rival.seeds is not None:
        seeds = counted(rival.seeds, "seed")
        over = f" Score and difference are over the {seeds} that both have."
    if not rival.verdict or rival.verdict == NOTHING_TESTED:
        return f"For reference, not tested.{over}"
    return f"{titles.method(subject)} against it: {rival.verdict}.{over}"


def _timeline(experiment: Experiment, target: str) -> None:
    """Show the membership of the first seed, small, and say which seed it is."""
    seeds = answers.grouping_runs(experiment, target)
    run = seeds[0]
    info, dark, order = cache.groups(run), is_dark(), runs.order_of(experiment, run)
    if not len(info.steps):
        return
    beside = cache.beside(run, experiment.runs)
    drawer = cache.drawer((cache.stamp(run), id(beside), dark, tuple(order), "small"))
    figure = titled(drawer(_small, info, dark, order, None, beside))
    said = f"When each source was in the group of {titles.run(run.name)}, step by step"
    chart(
        figure,
        f"learned-{experiment.name}-{run.name}",
        spoken(figure, said),
        {"displayModeBar": False},
    )
    of = f"1 of {len(seeds)} finished seeds" if len(seeds) > 1 else "the only finished seed"
    st.caption(f"The groups of seed {run.seed}, {of}.")


def _small(*arguments: object) -> object:
    made = timeline_figure(*arguments)  # type: ignore[arg-type]
    rows = len(made.layout.yaxis.categoryarray)
    made.update_layout(height=44 + SHORT * rows, margin={"l": 56, "r": 8, "t": 6, "b": 34})
    made.update_xaxes(title_text="in the group at step", title_standoff=2)
    made.update_yaxes(tickfont_size=11)
    return made


def _links(experiment: Experiment, target: str) -> None:
    run = answers.grouping_runs(experiment, target)[0]
    with st.container(horizontal=True):
        link("groups", "Groups: who was in, and when", experiment=experiment.name, run=run.name)
        link("explain", "Explain: why, step by step", experiment=experiment.name, run=run.name)
        link("compare", "Compare: all methods, with verdicts", experiment=experiment.name)
        link("launch", "Launch: train it with more seeds", clone=experiment.name)
