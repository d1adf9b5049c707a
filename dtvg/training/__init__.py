"""The bench: cohorts of runs trained together over one frozen backbone.

`procedures` follows the plan, `loop` is the one training loop, `cohort` what it acts on, `step`
one optimiser step, `state` everything that a commit holds, `recording` what becomes a row. May
import `methods`, `backbones`, `plan` and `store`; never streamlit or plotly. Start reading at
`loop.py`. docs/architecture.md.
"""
