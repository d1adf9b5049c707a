"""The overview's rows: what stands for several seeds together, against their own rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dtvg.analysis.overview.table import Quantity, experiment_rows, grouped, run_rows, steps_of
from dtvg.config import RunConfig
from dtvg.store.writer import RunWriter
from dtvg.testing import made_runs
from tests.analysis.factory import config, record, write_evals


@pytest.mark.parametrize("quantity", ["loss", "score"])
def test_the_curve_of_seeds_together_is_their_mean_at_the_same_steps(
    tmp_path: Path, quantity: Quantity
) -> None:
    """Seed 1 ended early; both fall and rise with the step, so that the mean does as well."""

    def rows(run: RunConfig, writer: RunWriter) -> None:
        steps = np.arange(1, 201 if run.seed else 801)
        loss = (2.0 - steps / 1000.0).astype(np.float32)
        made_runs.write_steps(writer, run, steps, loss=loss)
        write_evals(writer, run, {int(s): s / 1000.0 for s in steps[4::5]}, "validation")

    made = made_runs.write_experiment(
        tmp_path, config(methods=["none"], targets=["lake"], seeds=[0, 1]), rows
    )
    (group,) = grouped(run_rows([made]))
    curve = group.curve(quantity)
    ends = (1.98, 1.80) if quantity == "loss" else (0.02, 0.2)  # as far as both go: step 200
    assert 10 < len(curve) <= 40
    assert (curve[0], curve[-1]) == pytest.approx(ends, abs=0.02)
    (short,) = (grouped([row])[0].curve(quantity) for row in group.rows if row.run.seed)
    assert curve == pytest.approx(short[-len(curve) :], abs=1e-5)


def test_a_run_that_ended_early_has_done_all_its_steps(tmp_path: Path) -> None:
    made = record(
        tmp_path,
        config(targets=["lake"], methods=["none"], optim={"steps": 60, "patience": 2}),
        steps=30,
        unfinished=["lake.none.s2"],
    )
    rows = run_rows([made])
    assert [row.progress for row in rows] == [1.0, 1.0, 0.0]
    assert experiment_rows([made], rows)[0].progress == 0.5
    assert steps_of(row.run for row in rows) == (60, 120)
