"""The Python interface: build a configuration, run it, open what was recorded as DataFrames.

Everything heavy is imported inside the functions. The frames and figures come from the same
Infos as the pages and the command line.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dtvg.config import ExperimentConfig, build_config, load_config
from dtvg.errors import ConfigError, StoreError, shortened, unknown
from dtvg.extras import require

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

    from dtvg.analysis.claims.info import ClaimsInfo
    from dtvg.analysis.compare.info import CompareInfo
    from dtvg.analysis.run.story import StoryInfo
    from dtvg.config import RunConfig
    from dtvg.records import RunResult
    from dtvg.store import reader

__all__ = [
    "Experiment",
    "Run",
    "build_config",
    "claims",
    "load_config",
    "open_experiment",
    "open_run",
    "run",
    "tune",
]

RUN_FIGURES = ("membership", "similarity", "group_size", "weights", "contribution", "loss", "score")
EXPERIMENT_FIGURES = ("scores", "verdicts", "forest", "ranks", "profile", "curves", "claims")


@dataclass(frozen=True, repr=False)
class Run:
    """One recorded run; every method reads what is committed now."""

    view: reader.Run

    def __repr__(self) -> str:
        """Say in one line which run it is and how it stands."""
        view = self.view
        score = "" if view.test_score is None else f", test score {view.test_score:.4f}"
        return (
            f"<run {view.experiment}/{view.name}: {view.state.value}, step {view.step:,} of "
            f"{view.total_steps:,}{score}>"
        )

    @property
    def name(self) -> str:
        """Its name, as after the experiment's on the command line."""
        return self.view.name

    @property
    def config(self) -> RunConfig | None:
        """Its settings; None where they cannot be read."""
        return self.view.config

    @property
    def result(self) -> RunResult | None:
        """Scores and costs of a finished run; None for every other one."""
        return self.view.result

    def table(self, name: str) -> pd.DataFrame:
        """Return a table of the log as a DataFrame; columns and units in docs/run_files.md.

        Args:
            name: `steps`, `sources`, `evals`, `events`, `predictions`, `exchanges` or `relations`.

        Raises:
            StoreError: there is no such table, or a part of it is damaged.
        """
        from dtvg.store.reader import read_table

        _check_text("name", name)
        frame: pd.DataFrame = read_table(self.view, name).to_pandas()
        return frame

    def explain(self, step: int | None = None) -> pd.DataFrame:
        """Return why each source was in the group at a step (None: the newest), or was not.

        Raises:
            DataError: the run groups no sources, keeps only scores, or has no such step.
        """
        from dtvg.analysis.run.explain import explain_step

        if step is not None:
            _check_number("step", step)
        return explain_step(self.view, step).table

    def story(self) -> StoryInfo:
        """Return the run in plain sentences; print it, or read `.table`, `.uncertain` and
        `.partings` (from the other seeds of its experiment) as DataFrames."""
        from dtvg.analysis.run.groups import memberships
        from dtvg.analysis.run.story import siblings, story_info
        from dtvg.store import reader

        others = siblings(self.view, reader.open_experiment(self.view.path.parent).runs)
        return story_info(self.view, others=memberships(others))

    def figure(self, name: str = "membership", dark: bool = False) -> go.Figure:
        """Return one of `RUN_FIGURES` as a Plotly figure.

        Raises:
            ConfigError: an unknown name.
        """
        require("app", "A figure")
        _check_text("name", name)
        from dtvg.analysis.run.curves import curve_info
        from dtvg.analysis.run.groups import group_info
        from dtvg.figures import groups
        from dtvg.figures.curves import curves_figure
        from dtvg.figures.titled import titled

        if name not in RUN_FIGURES:
            raise ConfigError(unknown("figure of a run", name, RUN_FIGURES))
        if name in ("loss", "score"):
            return titled(curves_figure(curve_info([self.view], name, group_by="run"), dark))
        drawn: dict[str, Callable[..., go.Figure]] = {
            "membership": groups.timeline_figure,
            "similarity": groups.similarity_figure,
            "group_size": groups.size_figure,
            "weights": groups.weights_figure,
            "contribution": groups.contribution_figure,
        }
        return titled(drawn[name](group_info(self.view), dark))


@dataclass(frozen=True, repr=False)
class Experiment:
    """One recorded experiment."""

    view: reader.Experiment

    def __repr__(self) -> str:
        """Say in one line which experiment it is and how far it is."""
        runs = self._transfer
        done = sum(run.result is not None for run in runs)
        return f"<experiment {self.name}: {done:,} of {len(runs):,} runs finished>"

    @property
    def _transfer(self) -> list[reader.Run]:
        return [run for run in self.view.runs if run.role == "transfer"]

    @property
    def name(self) -> str:
        """Its name, which is its folder's."""
        return self.view.name

    @property
    def config(self) -> ExperimentConfig | None:
        """Its settings; None where they cannot be read."""
        return self.view.config

    @property
    def finished(self) -> bool:
        """Whether every transfer run has a result, as of when it was opened."""
        return all(run.result is not None for run in self._transfer)

    @property
    def runs(self) -> tuple[Run, ...]:
        """Its runs, Stage I included, in the order of the configuration."""
        return tuple(Run(view) for view in self.view.runs)

    def run(self, name: str) -> Run:
        """Return the run of this name.

        Raises:
            ConfigError: there is none, with the nearest one.
        """
        _check_text("name", name)
        found = {view.name: view for view in self.view.runs}
        if name not in found:
            raise ConfigError(unknown("run", name, found))
        return Run(found[name])

    def compare(
        self,
        split: str = "test",
        metric: str = "score",
        subject: str = "dtvg",
        against: str | Sequence[str] | None = None,
    ) -> CompareInfo:
        """Return everything that is said of its methods: one Info for frames and exports.

        Args:
            split: `test` or `validation`.
            metric: "score" or one of the tasks' metrics.
            subject: the method that is compared with the others.
            against: a baseline or several; None: every other method.

        Raises:
            DataError: an unknown split or metric, or `subject` or one of `against` is no method
                of its finished runs.
        """
        from dtvg.analysis.compare.info import compare_info
        from dtvg.analysis.compare.scores import SUBJECT
        from dtvg.analysis.compare.verdicts import check_subject

        for given, value in (("split", split), ("metric", metric), ("subject", subject)):
            _check_text(given, value)
        against = _several("against", against)
        info = compare_info(self.view.runs, split, metric, subject, against)  # type: ignore[arg-type]
        if against is not None or subject != SUBJECT:  # an experiment need not have that one
            check_subject(info.sheet, subject, against)
        return info

    def scores(self, split: str = "test") -> pd.DataFrame:
        """Return method × target with mean, std and interval, 0..1, and number of seeds."""
        return self.compare(split).table

    def verdicts(self, split: str = "test", subject: str = "dtvg") -> pd.DataFrame:
        """Return DTVG against each baseline, paired by seed and example, with what that shows."""
        return self.compare(split, subject=subject).verdicts

    def primary(self) -> pd.DataFrame:
        """Return the declared comparison (`hypothesis`), tested alone, with its sentence."""
        return self.compare().primary_table

    def ranks(self, split: str = "test") -> pd.DataFrame:
        """Return average ranks over targets, best first."""
        return self.compare(split).ranks.table

    def profile(self, split: str = "test") -> pd.DataFrame:
        """Return the performance profile: share of targets and seeds within τ of the best."""
        return self.compare(split).profile.table

    def costs(self) -> pd.DataFrame:
        """Return what each method trained and took, beside its score."""
        return self.compare().costs.table

    def budgets(self) -> pd.DataFrame:
        """Return each row's rates, where they came from, trials, steps and target steps."""
        return self.compare().budgets.table

    def published(self) -> pd.DataFrame:
        """Return results from papers on the same targets, with their source."""
        return self.compare().published.table

    def claims(self, margin: float | None = None) -> ClaimsInfo:
        """Return the paper's claims computed from its runs; `.table` is a DataFrame.

        Args:
            margin: difference of scores, 0..1, that would matter; None: as declared, else 0.01.
        """
        return claims(self, margin=margin)

    def export(self, form: str = "latex", tables: str | Sequence[str] | None = None) -> str:
        """Return the comparison as `csv`, `md` or `latex`, as `runs compare` writes it.

        Args:
            form: the format.
            tables: one or several of scores, primary, verdicts, ranks, profile, costs, budgets,
                published; None: as usual there.

        Raises:
            ConfigError: an unknown format or table, or the profile in LaTeX; `parquet` is for the
                command line alone.
        """
        from dtvg.export import export

        _check_text("form", form)
        return export(self.compare(), form, _several("tables", tables), self.view.name)

    def figure(self, name: str = "scores", dark: bool = False) -> go.Figure:
        """Return one of `EXPERIMENT_FIGURES` as a Plotly figure.

        Raises:
            ConfigError: an unknown name.
        """
        require("app", "A figure")
        _check_text("name", name)
        from dtvg.analysis.run.curves import curve_info
        from dtvg.figures.claims import claims_figure
        from dtvg.figures.compare import (
            compare_figure,
            forest_figure,
            profile_figure,
            ranks_figure,
            verdict_figure,
        )
        from dtvg.figures.curves import curves_figure
        from dtvg.figures.titled import titled

        if name not in EXPERIMENT_FIGURES:
            raise ConfigError(unknown("figure of an experiment", name, EXPERIMENT_FIGURES))
        if name == "curves":
            transfer = [view for view in self.view.runs if view.role == "transfer"]
            return titled(curves_figure(curve_info(transfer, "score"), dark))
        if name == "claims":
            return titled(claims_figure(self.claims(), dark))
        info = self.compare()
        drawn: dict[str, Callable[[], go.Figure]] = {
            "scores": lambda: compare_figure(info, dark),
            "verdicts": lambda: verdict_figure(info, dark),
            "forest": lambda: forest_figure(info.paired, dark),
            "ranks": lambda: ranks_figure(info.ranks, dark),
            "profile": lambda: profile_figure(info.profile, dark),
        }
        return titled(drawn[name]())


def _several(given: str, names: str | Sequence[str] | None) -> Sequence[str] | None:
    """Return names as a list, also where one is given as it stands.

    Raises:
        ConfigError: they are something else.
    """
    if names is None:
        return None
    found = [names] if isinstance(names, str) or not isinstance(names, Iterable) else list(names)
    for name in found:
        _check_text(given, name)
    return found


def _check_text(given: str, value: object) -> None:
    """Refuse what is no text where a name is asked for.

    Raises:
        ConfigError: it is none.
    """
    if not isinstance(value, str):
        raise ConfigError(f"{given} takes a name, got {shortened(repr(value))}.")


def _check_number(given: str, value: object) -> None:
    """Refuse what is no number where one is asked for.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ConfigError(f"{given} takes a number, got {shortened(repr(value))}.")


def _folder(runs_dir: str | Path | None) -> Path | None:
    """Return a folder of experiments; None: the default.

    Raises:
        ConfigError: it is no path.
    """
    if runs_dir is not None and not isinstance(runs_dir, str | os.PathLike):
        raise ConfigError(f"runs_dir takes a folder, got {shortened(repr(runs_dir))}.")
    return Path(runs_dir) if runs_dir else None


def run(
    config: ExperimentConfig | str | Path,
    runs_dir: str | Path | None = None,
    progress: bool = True,
    on: str | None = None,
) -> Experiment:
    """Train an experiment and wait for it; goes on with it where it was begun before.

    A run that fails by itself raises nothing: `finished` of what is returned says whether every
    run has a result.

    Args:
        config: from `build_config` or `load_config`, or a YAML file.
        runs_dir: folder of experiments; None: the default.
        progress: show progress bars.
        on: `inline`, `local`, `ray`, `ray://host:port` or `slurm`; None: as `config.scale` says.

    Raises:
        DtvgError: as the command line, one sentence.
        KeyboardInterrupt: it was asked to stop (Ctrl-C, SIGTERM, `dtvg runs stop`) and did, after
            a commit; the same call goes on.
    """
    from dtvg import paths
    from dtvg.cli.places import command_name
    from dtvg.cli.run import make, train
    from dtvg.scale.driver import placed

    if isinstance(config, str | Path):
        config = load_config(config)
    _check_config("dtvg.run", "a configuration or a YAML file", config)
    if on is not None:
        _check_text("on", on)
    scale, folder = placed(config.scale, on), _folder(runs_dir)
    made = make(config, scale, paths.expanded(folder) if folder else paths.runs())
    stopped = train(made, scale, quiet=not progress)
    found = open_experiment(made.path)
    if stopped and not found.finished:
        raise KeyboardInterrupt(
            f"'{found.name}' was stopped after a commit; the same call, or `dtvg runs resume "
            f"{command_name(made.path)}`, continues it."
        )
    return found


def _check_config(who: str, takes: str, config: object) -> None:
    """Refuse what is no configuration.

    Raises:
        ConfigError: it is none.
    """
    if not isinstance(config, ExperimentConfig):
        raise ConfigError(
            f"{who} takes {takes}, not a {type(config).__name__}; dtvg.build_config makes a "
            "configuration of a mapping."
        )


def tune(
    config: ExperimentConfig,
    on: str | Sequence[str],
    trials: int = 8,
    runs_dir: str | Path | None = None,
    progress: bool = True,
    **options: Any,
) -> tuple[ExperimentConfig, pd.DataFrame]:
    """Choose every method's rates on development targets, with as many trials for each.

    Args:
        config: the experiment to be tuned.
        on: a development target or several, none of its own.
        trials: of each method.
        runs_dir: folder of experiments; None: the default.
        progress: show progress bars.
        options: `span`, `grid`, `seeds`, `name` of `dtvg.tuning.trials_of`.

    Returns:
        The experiment with the chosen rates and where they came from, and a row per trial.

    Raises:
        ConfigError: a development target is one of the experiment, or methods would get unequal
            numbers of trials.
    """
    from dtvg import paths, tuning
    from dtvg.cli.tune import run_trials

    _check_config("dtvg.tune", "a configuration", config)
    _check_number("trials", trials)
    folder = _folder(runs_dir)
    tried = tuning.trials_of(config, _several("on", on) or (), trials, **options)
    made = run_trials(tried, paths.expanded(folder) if folder else None, progress)
    return made.applied(config), made.table


def open_run(path: str | Path, runs_dir: str | Path | None = None) -> Run:
    """Open a run.

    Args:
        path: `EXPERIMENT/RUN` as on the command line, or the run's folder.
        runs_dir: folder of experiments in which a name is looked for; None: the default.

    Raises:
        StoreError: there is no such run, with the nearest name.
    """
    from dtvg.cli.places import locate
    from dtvg.store import reader

    experiment, name = locate(str(path), _folder(runs_dir))
    names = experiment.run_names()
    if name is None:
        example = f", e.g. '{experiment.name}/{names[0]}'" if names else ""
        raise StoreError(
            f"'{path}' is an experiment; name one of its runs{example}, or open it with "
            "open_experiment."
        )
    if name not in names:
        raise StoreError(unknown("run", name, names))
    return Run(reader.open_run(experiment.path / name))


def open_experiment(path: str | Path, runs_dir: str | Path | None = None) -> Experiment:
    """Open an experiment.

    Args:
        path: its name as on the command line, or its folder.
        runs_dir: folder of experiments in which a name is looked for; None: the default.

    Raises:
        StoreError: there is no such experiment, with the nearest name.
    """
    from dtvg.cli.places import locate
    from dtvg.store import reader

    experiment, name = locate(str(path), _folder(runs_dir))
    if name is not None:
        raise StoreError(
            f"'{path}' is a run of experiment '{experiment.name}'; open it with open_run, or give "
            "the experiment alone."
        )
    return Experiment(reader.open_experiment(experiment.path))


def claims(*experiments: Experiment | str | Path, margin: float | None = None) -> ClaimsInfo:
    """Compute the paper's claims from the runs of one or several experiments.

    Args:
        experiments: opened, or their names or folders.
        margin: difference of scores, 0..1, that would matter; None: as declared, else 0.01.

    Returns:
        A claim each, by its letter (`claims(...)["d"]`), and all as DataFrames (`table`, `parts`).

    Raises:
        ConfigError: no experiment is named, or a margin that is no share.
        DataError: the same seed, method and target with different results.
        StoreError: there is no such experiment.
    """
    if not experiments:
        raise ConfigError("Claims are computed from experiments; name at least one.")
    if margin is not None:
        _check_number("margin", margin)
    if margin is not None and not 0 <= margin <= 1:
        raise ConfigError(f"margin is a share from 0 to 1 (one point is 0.01), got {margin:g}.")
    from dtvg.analysis.claims.info import claims_info
    from dtvg.analysis.pools import pool

    opened = [e if isinstance(e, Experiment) else open_experiment(e) for e in experiments]
    made = pool([e.view for e in opened])
    info = claims_info(made.runs, margin)
    return replace(info, notes=(*made.notes, *info.notes))
