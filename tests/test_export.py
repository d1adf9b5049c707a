"""Exports: the same numbers in every format, set off the same way, and LaTeX that compiles."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from dtvg import paths
from dtvg.analysis.claims.claim import POINTS
from dtvg.analysis.claims.claim import shown as points
from dtvg.analysis.compare.info import CompareInfo, compare_info
from dtvg.analysis.compare.lines import Cell, in_percent, lines_of
from dtvg.analysis.overview.learned import points_text
from dtvg.cli import main
from dtvg.errors import ConfigError, DataError
from dtvg.export import export, frame_of, latex_text, printed, to_csv, to_parquet
from dtvg.report import build_report
from dtvg.store.reader import open_experiment
from tests.analysis.answered import config, mostly_right, record

RATES = {"none": 0.62, "all_sources": 0.7, "single": 0.65, "dtvg": 0.9}


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    methods = ["none", "single", "all_sources", "dtvg"]
    record(root, mostly_right(RATES), config("one_two", targets=["rte", "cb"], methods=methods))
    return root


@pytest.fixture(scope="module")
def info(runs_dir: Path) -> CompareInfo:
    from dtvg.store.reader import open_experiment

    return compare_info(open_experiment(runs_dir / "one_two").runs)


def test_every_format_prints_the_numbers_of_the_info(info: CompareInfo) -> None:
    latex, markdown = export(info, "latex"), export(info, "md")
    csv = pd.read_csv(io.StringIO(export(info, "csv")))
    ours = csv[csv["origin"] == "ours"]
    assert len(ours) == len(info.table)
    for row, kept in zip(info.table.itertuples(), ours.itertuples(), strict=True):
        assert (row.method, row.target) == (kept.method, kept.target)
        assert kept.mean == pytest.approx(row.mean, abs=1e-15)
        assert f"{100 * row.mean:.1f}" in latex and f"{100 * row.std:.1f}" in markdown
    for line in lines_of(info).lines:
        for cell in line.cells:
            assert cell.percent in latex and cell.percent in markdown


def test_the_interval_of_each_mean_can_stand_in_place_of_the_deviation(
    info: CompareInfo, runs_dir: Path, capsys, monkeypatch
) -> None:
    latex = export(info, "latex", ["scores"], spread="interval")
    markdown = export(info, "md", ["scores"], spread="interval")
    monkeypatch.setenv("COLUMNS", "200")
    words = ["runs", "compare", "one_two", "--runs-dir", str(runs_dir), "--spread", "interval"]
    assert main(words) == 0
    printed_text = capsys.readouterr().out
    for row in info.table.itertuples():
        beside = f"({100 * row.low:.1f} to {100 * row.high:.1f})"
        assert beside in latex and beside in markdown and beside in printed_text
    for text in (latex, markdown):
        assert "its 95" in text and "bootstrap interval (3 seeds a cell)" in text
        assert "±" not in text.split("Published")[0] and "pm$" not in text
    assert "(3 seeds a cell)" in export(info, "md", ["scores"])


def test_half_a_last_digit_is_rounded_alike_in_every_number_of_a_comparison() -> None:
    """Means of 4 seeds with 100 rows end in halves, which their sums miss by a last bit."""
    low, high = 0.9674999999999999, 0.02250000000000002
    cell = Cell(0.9425, high, 4, low, 0.9975, "interval")
    assert (cell.percent, cell.spread, cell.around) == ("94.2", "2.2", "(96.8 to 99.8)")
    assert in_percent(0.955 - 0.9425, "+") == in_percent(0.0125, "+") == "+1.2"
    assert points(0.955 - 0.9425, POINTS) + " points" == points_text(0.0125) == "+1.2 points"


def test_pairs_without_a_seed_in_common_are_counted_not_listed(tmp_path: Path) -> None:
    made = record(tmp_path, mostly_right(RATES), config(targets=["rte", "cb"], methods=list(RATES)))
    info = compare_info([r for r in made.runs if r.target == "rte" or r.method != "dtvg"])
    text = export(info, "md", ["verdicts"])
    assert "no seed in common yet (average, cb)." in text and "| rte | none |" in text
    assert "| cb | none |" not in text and "| average |" not in text
    assert (frame_of(info, "verdicts")["n_seeds"] == 0).any()


def test_best_is_bold_second_underlined_and_ties_share_the_place(info: CompareInfo) -> None:
    lines = lines_of(info)
    for at, target in enumerate(lines.columns[:3]):
        means = info.wide.loc[list(info.sheet.headline), target].mul(100).round(1)
        ranked = sorted(set(means), reverse=True)
        for line in lines.of("compared"):
            place = ranked.index(means[line.method]) + 1
            assert line.cells[at].place == (place if place <= 2 else 0)
    assert not any(
        c.place for g in ("reference", "published") for x in lines.of(g) for c in x.cells
    )
    best = next(x.cells[0] for x in lines.of("compared") if x.cells[0].place == 1)
    assert rf"\textbf{{{best.percent}}}" in export(info, "latex")
    assert f"**{best.percent}**" in export(info, "md")


def test_marks_are_the_verdicts_and_are_explained(info: CompareInfo) -> None:
    shown = {
        (line.method, column): cell.mark
        for line in lines_of(info).lines
        for column, cell in zip(lines_of(info).columns, line.cells, strict=True)
    }
    for row in info.verdicts.itertuples():
        marked = shown[(row.baseline, row.target)]
        decided = row.verdict in ("better", "worse")
        assert (marked == row.verdict) == decided
        assert (marked == "better_on_runs") == (row.verdict_runs == "better" and not decided)
    assert {"better", "better_on_runs"} <= set(shown.values())
    latex = export(info, "latex", ["scores"])
    caption = latex[latex.index("\\caption") : latex.index("\\label")]
    assert r"$^{\circ}$ dtvg is better on new examples, but only for these trained runs" in caption
    assert "Holm" in caption


def test_published_numbers_stand_apart_with_their_source(info: CompareInfo) -> None:
    lines = lines_of(info)
    rte = {x.method: x.cells[0].percent for x in lines.of("published")}
    assert rte["MPT"] == "79.4" and rte["DTVG"] == ""
    assert all("arXiv" in x.source for x in lines.of("published"))
    average = lines.columns.index("average")
    assert all(x.cells[average].empty for x in lines.of("published"))
    without = lines_of(info, with_published=False)
    assert without.lines == tuple(
        type(x)(x.group, x.method, x.cells[:3], x.source)
        for x in lines.lines
        if x.group != "published"
    )
    csv = frame_of(info, "scores")
    assert set(csv.loc[csv["origin"] == "published", "n_seeds"].isna()) == {True}
    assert "Published, not run here" in export(info, "latex")
    assert "2303.02861" in export(info, "latex")


def test_latex_has_as_many_cells_as_columns_and_balanced_braces(info: CompareInfo) -> None:
    text = export(info, "latex")
    for tabular in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", text, re.S):
        columns, body = tabular
        for line in body.splitlines():
            if line.endswith(r"\\") and "multicolumn" not in line:
                assert len(re.findall(r"(?<!\\)&", line)) == len(columns) - 1
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")
    assert text.isascii() or all(ord(c) < 0x180 for c in text)


def test_a_long_table_spans_the_page_and_a_short_one_does_not(info: CompareInfo) -> None:
    text = export(info, "latex", ["scores", "verdicts", "ranks"])
    assert "\\begin{table*}" in text and "\\begin{table}" in export(info, "latex", ["ranks"])
    assert r"undecided (within $\pm$" in text and "points)" in text and "at least +" in text
    assert "differs by less than" not in text


def test_a_printed_page_has_short_words_for_what_cannot_be_told(tmp_path: Path) -> None:
    few = record(tmp_path, mostly_right(RATES), config(seeds=[0, 1], methods=list(RATES)))
    text = export(compare_info(few.runs), "latex", ["verdicts"])
    assert "not enough seeds" not in text[text.index("tab:comparison-verdicts") :]
    assert "too few seeds" in text


def test_latex_escapes_what_people_name() -> None:
    assert latex_text("a_b & 50% #1 {x} ~^$\\") == (
        r"a\_b \& 50\% \#1 \{x\} \textasciitilde{}\textasciicircum{}\$\textbackslash{}"
    )
    assert latex_text("-1.2 of rte-1, single-a") == "$-$1.2 of rte-1, single-a"
    assert latex_text('is "after" a `rule`, 5"') == "is ``after'' a `rule', 5''"
    assert latex_text("naïve 語 τ≤½ẽ") == r"naïve ? $\tau$$\leq$?e"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles(info: CompareInfo, tmp_path: Path) -> None:
    odd = r"exp_1 & 100% #{x}^~\ naïve χ² – “q” 語"
    body = export(info, "latex", ["scores", "verdicts", "ranks", "costs", "published"], odd)
    head = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n"
    (tmp_path / "t.tex").write_text(f"{head}{body}\\end{{document}}\n", encoding="utf-8")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


def test_markdown_rows_are_whole_and_names_cannot_break_them(info: CompareInfo) -> None:
    for block in export(info, "md").split("\n\n"):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1
    assert "all\\_sources" in export(info, "md")


def test_an_empty_cell_stays_empty() -> None:
    cell = Cell(float("nan"))
    assert cell.empty and cell.percent == "" and cell.spread == ""


def test_wrong_words_are_answered_with_the_nearest(info: CompareInfo) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'latex'"):
        export(info, "latx")
    with pytest.raises(ConfigError, match="Did you mean 'verdicts'"):
        export(info, "md", ["verdict"])
    with pytest.raises(ConfigError, match="one table"):
        export(info, "csv", ["scores", "costs"])
    with pytest.raises(DataError, match="split"):
        compare_info([], split="train")  # type: ignore[arg-type]


def test_a_table_that_was_asked_for_is_printed_or_said_to_be_empty(
    runs_dir: Path, info: CompareInfo, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = export(info, "latex", ["published"])
    assert "Published, not run here" in alone and "For reference" not in alone
    words = ["runs", "compare", "one_two", "--runs-dir", str(runs_dir), "--tables"]
    assert main([*words, "published"]) == 0 and "(published)" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="LaTeX has no table of it"):
        export(info, "latex", ["scores", "profile"])
    said = "This comparison has no rows for primary."
    assert export(info, "md", ["primary"]).strip() == said
    assert export(info, "latex", ["ranks", "primary"]).endswith(f"% {said}\n")
    assert said not in export(info, "md"), "nobody asked for it"
    assert main([*words, "primary"]) == 0 and said in capsys.readouterr().out


@pytest.mark.parametrize("form", ["table", "md", "latex"])
def test_while_nothing_has_finished_the_command_says_so(
    tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = config("waits", targets=["lake"], methods=["none", "dtvg"], seeds=[0])
    names = [run.name for run in made.runs()]
    record(tmp_path, mostly_right(RATES), made, unfinished=names)
    assert main(["runs", "compare", "waits", "--runs-dir", str(tmp_path), "--format", form]) == 0
    told = capsys.readouterr().out
    assert "This comparison has no rows for scores." in told
    assert "2 of 2 runs have not finished" in told


@pytest.mark.parametrize("form", ["table", "md", "latex"])
def test_every_route_says_which_runs_have_not_finished(
    tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = config("half", targets=["lake"], methods=["none", "dtvg"], seeds=[0, 1])
    made = record(tmp_path, mostly_right(RATES), made, unfinished=[made.runs()[0].name])
    assert main(["runs", "compare", "half", "--runs-dir", str(tmp_path), "--format", form]) == 0
    said = "1 of 4 runs have not finished; their cells are empty or based on fewer seeds."
    assert said in " ".join(capsys.readouterr().out.split())
    assert said in build_report(open_experiment(made.path), None, ["scores"])


def test_a_table_of_declared_comparisons_has_its_columns_where_none_is_declared(
    info: CompareInfo,
) -> None:
    head = to_csv(info, "primary").strip().split(",")
    assert head[:3] == ["experiment", "better", "than"] and "verdict" in head
    assert not len(pd.read_parquet(io.BytesIO(to_parquet(info, "primary"))))


@pytest.mark.parametrize("form", ["table", "csv", "md", "latex"])
def test_the_command_prints_and_writes_the_same(
    runs_dir: Path, info: CompareInfo, form: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["runs", "compare", "one_two", "--runs-dir", str(runs_dir), "--format", form]
    assert main(words) == 0
    printed = capsys.readouterr().out
    out = tmp_path / "file"
    assert main([*words, "--out", str(out)]) == 0
    if form == "table":
        assert "dtvg" in out.read_text() and "dtvg" in printed
    else:
        assert printed == out.read_text() == export(info, form, name="one_two")


def test_the_command_refuses_an_unknown_subject_with_status_2(
    runs_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["runs", "compare", "one_two", "--runs-dir", str(runs_dir)]
    assert main([*words, "--subject", "dtgv"]) == 2
    assert "Did you mean 'dtvg'" in capsys.readouterr().err
    assert main([*words, "--against", "nne"]) == 2
    assert main([*words, "--metric", "rouge"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_baseline_is_a_method_with_all_its_rows_and_never_the_subject_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    methods = [
        "none",
        "dtvg",
        {"name": "single", "source": "amber"},
        {"name": "single", "source": "birch"},
    ]
    record(tmp_path, mostly_right(RATES), config("some", methods=methods))
    words = ["runs", "compare", "some", "--runs-dir", str(tmp_path), "--format", "csv"]
    assert main([*words, "--tables", "verdicts", "--against", "single"]) == 0
    found = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert set(found["baseline"]) == {"single-amber", "single-birch"}
    assert main([*words, "--against", "dtvg"]) == 2
    assert "'dtvg' is not compared with dtvg: " in capsys.readouterr().err
    assert main([*words, "--against", "dtvg,none"]) == 0


def test_an_experiment_without_the_usual_subject_is_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path, mostly_right(RATES), config("bare", methods=["none", "all_sources"]))
    words = ["runs", "compare", "bare", "--runs-dir", str(tmp_path)]
    assert main(words) == 0
    assert "all_sources" in capsys.readouterr().out
    assert main([*words, "--subject", "dtvg"]) == 2
    assert "(subject) 'dtvg'" in capsys.readouterr().err


def test_decimals_are_alike_within_a_column() -> None:
    frame = pd.DataFrame({"n": [1.0, 1200.0], "x": [0.5, 2.25], "word": ["a", "b"]})
    frame.loc[2] = [float("nan"), 3.0, "c"]
    assert printed(frame).to_numpy().tolist() == [
        ["1", "0.50", "a"],
        ["1,200", "2.25", "b"],
        ["", "3.00", "c"],
    ]


def test_several_rows_in_question_give_no_marks_and_no_repeated_rows() -> None:
    wanted = ("none", "all_sources", "dtvg-fixed", "dtvg-random")
    recorded = open_experiment(paths.examples() / "demo-recorded")
    made = compare_info([r for r in recorded.runs if r.method in wanted])
    assert made.verdicts["subject"].nunique() == 2
    assert not lines_of(made).marks
    frame = frame_of(made, "scores")
    assert len(frame) == len(frame[["method", "target", "origin"]].drop_duplicates())


def test_signs_that_people_write_are_set_in_latex() -> None:
    assert latex_text("“x” ‘y’ ○ ✓ Δ") == r"``x'' `y' $\circ$ $\surd$ $\Delta$"
    assert "?" not in latex_text("”“‘’▲▼○●≈≠αβσμΔΣ")
