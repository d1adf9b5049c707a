"""Runs as rows of a table, and the filter one types above it.

Start reading at `table`. Imports `store`, `records` and `config`; never torch, streamlit or
plotly.
"""
