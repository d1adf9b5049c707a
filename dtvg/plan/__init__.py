"""The plan of an experiment: a graph of cohorts, where it is stored, and what it costs.

May import store, config, tasks and the methods' specs; no torch, so that pages show it. Start
reading in `graph.py`; `stored.py` says which cohorts a resumed experiment meets.
"""

from dtvg.plan.graph import CohortPlan, Plan, plan, stage_one_runs

__all__ = ["CohortPlan", "Plan", "plan", "stage_one_runs"]
