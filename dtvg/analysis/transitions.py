"""How groups follow each other, and which sources are in together. GroupInfo → tables.

Must not import torch, plotly or streamlit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from dtvg.analysis.groups import GroupInfo
from dtvg.analysis.segments import breaks_of, group_name

MOST = 9
"""Groups named in a flow; the rest share "(other)"."""
OTHER = "(other)"


@dataclass(frozen=True, eq=False)
class TransitionInfo:
    """From which group to which, and who was in together."""

    run: str
    sources: tuple[str, ...]
    groups: tuple[str, ...]
    """Names by steps in force, most first; `(other)` last where there are more."""
    table: pd.DataFrame
    """`from, to, times, first, last`: changes of the group; `(other)` to `(other)` is left out."""
    together: npt.NDArray[np.float64]
    """`[n n]`: share of the steps with both sources in; the diagonal: with the source in."""

    @property
    def together_table(self) -> pd.DataFrame:
        """`source, other, share, given_source`: co-membership, also as a share of the source's
        own steps (NaN where it was never in)."""
        n = len(self.sources)
        rows, columns = np.divmod(np.arange(n * n), n)
        own = np.diag(self.together)[rows]
        share = self.together.ravel()
        given = np.divide(share, own, out=np.full(len(share), np.nan), where=own > 0)
        return pd.DataFrame(
            {
                "source": [self.sources[i] for i in rows],
                "other": [self.sources[j] for j in columns],
                "share": share,
                "given_source": given,
            }
        )


def transition_info(info: GroupInfo, most: int = MOST) -> TransitionInfo:
    """Count the changes from group to group, and co-membership.

    Args:
        info: a run's groups.
        most: groups with a name of their own.
    """
    names = info.combinations["members"].tolist()
    shown = names if len(names) <= most + 1 else [*names[:most], OTHER]
    place = {name: min(i, len(shown) - 1) for i, name in enumerate(names)}
    steps, member = info.steps, info.member
    inside = member.astype(np.float64)
    together = inside.T @ inside / max(len(steps), 1)
    changed = np.flatnonzero((member[1:] != member[:-1]).any(axis=1) & ~breaks_of(steps)[1:])
    codes = np.array([place[group_name(g, info.sources)] for g in member[changed]], dtype=int)
    after = np.array([place[group_name(g, info.sources)] for g in member[changed + 1]], dtype=int)
    frame = pd.DataFrame({"from": codes, "to": after, "step": steps[changed + 1]})
    frame = frame[frame["from"] != frame["to"]]
    table = (
        frame.groupby(["from", "to"], as_index=False)
        .agg(times=("step", "size"), first=("step", "min"), last=("step", "max"))
        .sort_values(["times", "first"], ascending=[False, True], ignore_index=True)
    )
    for column in ("from", "to"):
        table[column] = [shown[i] for i in table[column]]
    return TransitionInfo(info.run, info.sources, tuple(shown), table, together)
