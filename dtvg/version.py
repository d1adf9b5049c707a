"""The package's version, importable without anything else."""

__version__ = "0.3.0.dev0"
