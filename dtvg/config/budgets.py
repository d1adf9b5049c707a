"""The rates and the budget of a run as tables state them, and as its folder keeps them.

docs/methods.md "Rates and budgets".
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from dtvg.config.experiment import RunConfig
from dtvg.config.rates import settings_of
from dtvg.config.sections import OptimConfig
from dtvg.methods.specs.rates import WORDS

NOT_TUNED = "rates not tuned"


def kept(run: RunConfig, stored: RunConfig) -> OptimConfig:
    """Return a run's `optim` with the method's own rates as they were when the run was made.

    Args:
        run: as its experiment's file gives it today.
        stored: as its folder holds it.
    """
    settings = settings_of(stored.method)
    own = [settings[what] for what, came in stored.rates_from.items() if came == "own"]
    return run.optim.model_copy(update={name: getattr(stored.optim, name) for name in own})


def unnamed(run: RunConfig, named: Collection[str] = ()) -> list[str]:
    """Return the settings of `optim` that need not be named to give a run its rates again.

    Args:
        run: as its folder holds it.
        named: settings that are named anyway.
    """
    method, defaults = run.method, OptimConfig()
    settings, found = settings_of(method), []
    rates = {what: setting for what, setting in settings.items() if what != "decay"}
    speaks = any(run.rates_from.get(w) == "optim" or s in named for w, s in rates.items())
    for what, setting in settings.items():
        came, value = run.rates_from.get(what), getattr(run.optim, setting)
        same = {
            "entry": True,
            "own": value == getattr(method.own, what),
            "beside": speaks and value == getattr(defaults, setting),
        }
        if came is not None and same.get(came, False):
            found.append(setting)
    return found


@dataclass(frozen=True)
class RateRow:
    """What a table says of the rates and the budget of a row."""

    method: str
    """Its label."""
    rates: str
    """E.g. `prompt 0.3, gates 0.3; weight decay 1e-05`."""
    origin: str
    """Where they came from."""
    trials: int
    """Tuning trials that they were chosen from; 0: not tuned."""
    steps: int
    """Steps of the run."""
    target_steps: int
    """Steps on the target that the tuned prompt has at the end, Stage I's included."""

    @property
    def tuned(self) -> str:
        """The trials in words."""
        return tuned_words(self.trials)


def tuned_words(trials: int) -> str:
    """Return a number of tuning trials in words."""
    return f"{trials} trial{'s' * (trials != 1)}" if trials else NOT_TUNED


def rate_row(run: RunConfig) -> RateRow:
    """Return what a table says of the rates and the budget of a transfer run."""
    method, optim = run.method, run.optim
    settings = settings_of(method)
    shown = ", ".join(
        f"{WORDS[what]} {getattr(optim, setting):g}"
        for what, setting in settings.items()
        if what != "decay"
    )
    decay = getattr(optim, settings["decay"])
    proven = method.proven
    return RateRow(
        method=method.label,
        rates=f"{shown}; weight decay {decay:g}" if decay else shown,
        origin=_origins(run),
        trials=proven.trials if proven is not None else 0,
        steps=run.total_steps,
        target_steps=run.target_steps,
    )


def _origins(run: RunConfig) -> str:
    """Say where a run's rates came from; those of one origin together."""
    proven = run.method.proven
    entry = "method entry"
    if proven is not None:
        entry = f"tuned on {', '.join(proven.targets)} ({proven.experiment}, {proven.date})"
    words = {
        "entry": entry,
        "optim": "optim",
        "beside": "optim's default",
        "own": f"method's default ({run.method.own.source})",
    }
    groups: dict[str, list[str]] = {}
    for what, origin in run.rates_from.items():
        if what in WORDS:
            groups.setdefault(words[origin], []).append(WORDS[what])
    if not groups:
        return "optim"
    if len(groups) == 1:
        return next(iter(groups))
    return "; ".join(f"{', '.join(which)}: {where}" for where, which in groups.items())
