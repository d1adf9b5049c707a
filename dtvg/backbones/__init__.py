"""Frozen language models: `specs` lists names (no torch); the rest prepends prompts to them."""
