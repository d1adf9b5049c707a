"""Transfer methods: what a target's prompt makes of the sources. One file per method.

`specs/<name>.py` holds a method's settings and what its runs need (no torch), `<name>.py` its
code with class `Method`. May import `rule` and the base; never a backbone or the training
loop. Start reading at `base.py`, then `dtvg.py`. docs/methods.md.
"""
