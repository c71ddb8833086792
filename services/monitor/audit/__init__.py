"""The audit: decisions that somebody answers for, chained so that a change of any of them shows."""
