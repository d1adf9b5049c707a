"""SuperGLUE as rows of data: the tasks whose text follows the general rule.

Sizes, columns and label numbers are those of the hub's `aps/super_glue`. Must not import
torch or pandas. METHOD.md "Text-to-text conventions".
"""

from __future__ import annotations

from dtvg.tasks.spec import SplitPlan, TaskSpec

HUB = "aps/super_glue"
REVISION = "3de24cf8022e94f4ee4b9d55a6f539891524d646"


def _superglue(
    name: str,
    title: str,
    fields: tuple[str, ...],
    classes: tuple[str, ...],
    metrics: tuple[str, ...],
    split: SplitPlan,
    paper: str,
    licence: str = "see the corpus",
) -> TaskSpec:
    """Return one row, with what all of SuperGLUE has in common filled in."""
    return TaskSpec(
        name=name,
        title=title,
        family="SuperGLUE",
        dataset=HUB,
        config=name,
        folder=f"superglue_{name}",
        fields=tuple((column, column) for column in fields),
        labels=tuple(str(index) for index in range(len(classes))),
        metrics=metrics,
        split=split,
        revision=REVISION,
        label_titles=classes,
        paper=paper,
        licence=licence,
    )


TASKS: tuple[TaskSpec, ...] = (
    _superglue("boolq", "Boolean Questions", ("question", "passage"), ("false", "true"),
               ("accuracy",), SplitPlan(9_427), "Clark et al. 2019, arXiv 1905.10044",
               "CC BY-SA 3.0"),
    _superglue("cb", "CommitmentBank", ("premise", "hypothesis"),
               ("entailment", "contradiction", "neutral"), ("macro_f1", "accuracy"),
               SplitPlan(250), "de Marneffe et al. 2019"),
    _superglue("wic", "Word in Context", ("sentence1", "sentence2", "word"),
               ("different sense", "same sense"), ("accuracy",), SplitPlan(5_428),
               "Pilehvar and Camacho-Collados 2019, arXiv 1808.09121", "CC BY-NC 4.0"),
)  # fmt: skip
