"""The compare page: what is compared, and one module for each kind of view.

Start reading at `pick`: experiments, runs and split in the address. Imports `analysis.compare`,
`analysis.subsets`, `figures` and the widgets of `ui`; never torch.
"""
