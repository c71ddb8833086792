"""The rebuilding of monitor's projections from the log of events, while monitor runs."""
