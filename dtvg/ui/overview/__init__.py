"""The overview page: filter, table, what is done with chosen runs, and the tour for newcomers.

Start reading at `table`. Imports `analysis.overview`, `store` and the widgets of `ui`; never
torch.
"""
