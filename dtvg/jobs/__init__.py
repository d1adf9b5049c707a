"""Processes and devices: starting, stopping and finding what trains, and the queue.

May import `plan`, `store`, `config`, `tasks` and the backbones' specs; no torch. Start reading
at `launcher.py`, then `queue.py`; `readiness.py` says what would fail before Start.
docs/launch.md.
"""
