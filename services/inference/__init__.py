"""Deployments, traffic and the data plane: which version answers a request, and its answer from Triton."""
