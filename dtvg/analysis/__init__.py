"""Run(s) → Info: frozen dataclasses of arrays and the tables a page shows and exports.

NumPy, pandas and SciPy only; run files are read through `dtvg.store`. Imports nothing by
itself.
"""
