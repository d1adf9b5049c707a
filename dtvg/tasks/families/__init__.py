"""Tasks that come with the package, one module a family; each holds `TASKS`, one row a task."""
