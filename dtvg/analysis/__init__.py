"""Runs become numbers: frozen Infos of arrays and tables that a page shows and exports.

One room per question: `run` (one run), `compare` (many runs), `subsets` (which sources help),
`overview` (the table of runs). `statistics` holds every interval, test and correction, once;
`downsample` thins long series; `prompts` and `tasks` describe the bank and a task. May import
`store`, `plan`, `config`, `tasks` and `rule`. Start reading at `run/groups.py`.
"""
