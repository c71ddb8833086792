"""Evaluations, gates and comparisons: whether a version is good enough."""
