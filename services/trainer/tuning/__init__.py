"""Tuning studies: a task that has others train with parameters drawn from ranges, and makes the best one a version."""
