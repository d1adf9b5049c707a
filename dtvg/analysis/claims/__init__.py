"""The paper's seven claims, each as one number computed from stored runs, with a verdict.

A module per claim or family of claims; start reading at `info`. Imports `analysis.compare`,
`analysis.subsets` and the store; never torch. docs/claims.md.
"""
