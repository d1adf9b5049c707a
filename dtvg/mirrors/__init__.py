"""Mirrors: committed scalars, group sizes and membership, copied to TensorBoard, wandb and others.

Reads rows that are committed (store) and hands them to one small adapter per tracker, in a thread
of its own; a tracker that fails or hangs is left behind. Training knows one object, `Mirrors`, and
nothing of trackers. May import store, config, extras and below; start at follow.py.
docs/mirrors.md.
"""
