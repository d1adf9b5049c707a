"""Run(s) → Info: frozen dataclasses of arrays and the tables a page shows and exports.

NumPy, pandas and SciPy only; run files are read through `dtvg.store`. Must not import torch,
plotly or streamlit. Imports nothing by itself.
"""
