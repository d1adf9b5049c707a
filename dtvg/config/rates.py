"""Which learning rates and budget a method's runs take, and where each came from.

Order: the method's entry; what the file names in `optim`; the method's own. A file that names one
of the rates a method uses means `optim` for all of them, so that it keeps its numbers.
docs/methods.md "Rates and budgets".
"""

from __future__ import annotations

from typing import Literal

from dtvg.config.sections import OptimConfig
from dtvg.methods.specs.base import MethodConfig
from dtvg.methods.specs.rates import BUDGET, ENTRY_FIELDS

Origin = Literal["entry", "optim", "beside", "own"]
"""The method's entry, a setting of `optim`, its default beside a named one, the method's own."""

_TRANSFER = {
    "prompt": "lr_prompt",
    "scale_target": "lr_scale_target",
    "scale": "lr_scale",
    "gate": "lr_gate",
    "decay": "weight_decay",
}
_STAGE_ONE = {"prompt": "lr_stage1", "decay": "weight_decay_stage1"}


def settings_of(method: MethodConfig) -> dict[str, str]:
    """Return the settings of `optim` that hold a method's rates, by what is trained."""
    known = _STAGE_ONE if method.rates == "stage_one" else _TRANSFER
    return {what: known[what] for what in (*method.rated, "decay") if what in known}


def resolved(optim: OptimConfig, method: MethodConfig) -> tuple[OptimConfig, dict[str, Origin]]:
    """Return `optim` with the rates and the budget that a method's runs take.

    Args:
        optim: of the experiment; which settings were named counts.
        method: an entry of `methods`.

    Returns:
        The same section, every rate as it is used, and by what is trained where it came from.
    """
    settings = settings_of(method)
    named = optim.model_fields_set
    speaks = any(settings[what] in named for what in settings if what != "decay")
    values: dict[str, float | bool] = {}
    came: dict[str, Origin] = {}
    for what, setting in settings.items():
        given = getattr(method, ENTRY_FIELDS[what])
        if given is not None:
            values[setting], came[what] = given, "entry"
        elif setting in named:
            came[what] = "optim"
        elif speaks:
            came[what] = "beside"
        else:
            values[setting], came[what] = getattr(method.own, what), "own"
    budget = getattr(method, BUDGET)
    if budget is not None:
        values |= {BUDGET: budget, "equal_target_steps": False}
        came[BUDGET] = "entry"
    return optim.model_copy(update=values), came
