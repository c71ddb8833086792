"""Scalars of tasks by step: kept in chunks, thinned for charts, exported."""
