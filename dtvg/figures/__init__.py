"""Info → Plotly figure: no reading of files, no arithmetic beyond layout.

Every number in a trace stands in a table of the Info it was made from. Imports nothing by
itself.
"""
