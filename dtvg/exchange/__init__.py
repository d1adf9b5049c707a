"""Prompts that come and go: adapters of PEFT, tensors of published code, model cards.

May import `store`, `tasks` and the specs of methods and backbones; no torch. Start reading at
`peft_adapter.py`, then `incoming.py` and `outgoing.py`. docs/prompts.md.
"""
