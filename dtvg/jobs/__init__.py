"""Processes: starting, stopping and finding what trains, and the devices there are. No torch."""
