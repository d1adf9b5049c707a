"""Executors: the cohorts of a plan on one device, several, a Ray cluster or Slurm.

Existing engines do the distributing; here are only the graph of cohorts and the files they meet in.
Start reading at `driver.py`, then `scheduler.py` (what starts when) and `executor.py` (what an
engine has to do). May import everything below it; no torch, since a driver trains nothing.
docs/scale.md.
"""
