"""Requests and replies of the control plane: one file per owning service."""
