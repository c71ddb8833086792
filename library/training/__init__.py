"""The training that all members share: epochs, checkpoints, and what a task type asks for."""
