"""Cause and effect: from any id the tree of events, tasks, versions and predictions around it."""
