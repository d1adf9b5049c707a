"""One run: its groups, why a source was in, what another rule would have done, curves, paths.

Start reading at `explain`: one step in full; `groups` is the whole history. Imports `store`,
`rule` and its neighbours `analysis.statistics` and `analysis.downsample`; never torch,
streamlit or plotly.
"""
