"""The bench: cohorts of runs trained together over one frozen backbone."""
