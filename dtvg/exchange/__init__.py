"""Prompts that come and go: adapters of PEFT, tensors of published code, model cards. No torch."""
