"""Frozen language models: soft prompts go before their input embeddings, nothing is patched.

`specs` lists names and sizes and counts tokens without torch, so that pages may import it;
`base` is the interface the bench needs, `encoder_decoder` and `decoder_only` are its two
families, `loading` finds the right one. May import `config`, `tasks` and the base, never a
method. Start reading at `base.py`.
"""
