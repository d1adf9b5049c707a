"""Many runs side by side: scores, verdicts, ranks, costs, examples, and how they are printed.

Start reading at `info`: `compare_info` is the one Info behind the compare page, `runs compare`
and every export. Imports `store`, `tasks` and `analysis.statistics`; never torch, streamlit or
plotly.
"""
