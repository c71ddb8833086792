"""Runs of other programs: what MLflow's clients say of them is kept as tasks, series and files."""
