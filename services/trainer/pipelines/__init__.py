"""Pipelines: steps that wait for each other, each a task or a step of policy, submitted and ended as one thing."""
