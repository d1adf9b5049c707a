"""An Info becomes a Plotly figure: no reading of files, no arithmetic beyond layout.

Every number in a trace stands in a table of the Info it was made from. `theme` gives every
source and every method its colour. May import `analysis` and the methods' specs. Start reading
at `groups.py`.
"""
