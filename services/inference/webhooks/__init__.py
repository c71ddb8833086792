"""Webhooks: where a project lets answers of deferred requests be posted to."""
