"""The launch page: where it starts, what was entered, the form, the grid, its plan, the queue.

Start reading at `draft`: what has been entered, apart from the widgets that show it. Imports
`config`, `plan`, `jobs` and the widgets of `ui`; never torch.
"""
