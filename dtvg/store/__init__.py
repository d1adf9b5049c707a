"""The log and the prompt bank on disk: the only package that opens run files. No torch."""
