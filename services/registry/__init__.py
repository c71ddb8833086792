"""registry: models, versions, data sets and aliases; it decides which version may be promoted."""
