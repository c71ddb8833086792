"""Long work: one state machine, lease, fencing number, cancel, progress and log for every service that runs tasks."""
