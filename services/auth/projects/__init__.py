"""Projects as tenants, and the models that they share."""
