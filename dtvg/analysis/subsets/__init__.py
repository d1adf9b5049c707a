"""Subsets of sources: what each scores, which help or harm, and whether a run kept the right one.

Start reading at `runs`: which subset a run was trained on. Imports `store`, `analysis.run` and
`analysis.statistics`; never torch, streamlit or plotly.
"""
