"""The log and the prompt bank on disk: the only room that opens run files.

`writer` commits, `reader` gives frozen views, `status` says what is alive, `layout` where
everything lies, `bank` keeps tuned prompts; `fork`, `holds`, `labels`, `trash` and `verify`
each do what they are called. May import `config`, `records` and `rule`; no torch. Start reading
at `layout.py` and `writer.py`. docs/run_files.md.
"""
