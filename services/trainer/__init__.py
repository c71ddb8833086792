"""Training tasks: how a task runs, resumes and ends; its checkpoints, metrics and logs."""
