"""Tasks as data: what a task is, where its rows lie, how they become text, how answers are scored.

May import: `dtvg.errors`, `dtvg.names`, `dtvg.paths`, `dtvg.extras`, NumPy, pyarrow, pydantic and
yaml; scikit-learn, scipy, `datasets` and the text metrics' libraries when first used. Never the
configuration (settings come in as `reading.DataSettings`), torch, pandas, a backbone or a page.

Inside, `families/` and `own`
make specs, `catalogue` finds them by name, and nothing below `catalogue` imports it.

Start reading at `spec.py`, then `families/glue.py`, `catalogue.py` and `reading.py`; for scores
at `scoring.py` and `metrics.py`. docs/tasks.md.
"""
