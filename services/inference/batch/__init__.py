"""Batch inference: the rows of a file or a data set through a deployed version, as a task; the result is a file."""
