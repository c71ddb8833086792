"""monitor: tasks of all services, predictions, the timeline of events and the host's load."""
