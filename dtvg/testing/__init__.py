"""Contract kits: what every method must satisfy, every backbone and every task.

With a whole experiment in miniature. Shipped, so that extensions are tested like our own. May
import every room of the bench. Start reading at `methods.py`.
"""
