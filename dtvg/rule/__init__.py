"""The rule: from the Gram matrix of scaled pooled vectors to the group of sources.

Start reading in `decide.py` (`gram_matrix`, `decide`, `merge`); `rules.py` lists the rules, one
entry each, and `types.py` says what they get and give. `ranking.py` ranks, `subsets.py` searches,
`memory.py` keeps groups from step to step, `margins.py` says how close a decision was,
`precision.py` which numbers tie, `draws.py` draws, and `arrays.py` measures.
One implementation in array-API code serves NumPy (a page replaying a log) and torch (training).
May import `dtvg.errors` and no other part of the package. arXiv 2503.18063, section 3.2;
docs/method.md.
"""
