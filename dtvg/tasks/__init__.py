"""Tasks as data: specifications, text, splits, reading and metrics. No torch anywhere here."""
