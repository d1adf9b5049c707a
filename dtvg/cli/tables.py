"""Tables for the terminal: scores by method and target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from dtvg.store.reader import Run


def score_table(runs: Sequence[Run]) -> Table:
    """Build method × target: mean ± standard deviation over seeds, in percent.

    Scores are test scores at the best validation step; cells without a finished run are empty.
    """
    from rich.table import Table

    from dtvg.analysis.compare import compare_info

    info = compare_info(list(runs))
    shown = info.table
    targets = list(dict.fromkeys(shown["target"]))
    table = Table("method", *targets, title="Test score, mean ± std over seeds (percent)")
    for method in dict.fromkeys(shown["method"]):
        cells = []
        for target in targets:
            row = shown[(shown["method"] == method) & (shown["target"] == target)]
            if row.empty or row["mean"].isna().all():
                cells.append("")
                continue
            first = row.iloc[0]
            spread = "" if first["n_seeds"] < 2 else f" ± {100 * first['std']:.1f}"
            cells.append(f"{100 * first['mean']:.1f}{spread} (n={int(first['n_seeds'])})")
        table.add_row(str(method), *cells)
    return table
