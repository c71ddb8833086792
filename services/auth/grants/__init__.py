"""Roles that people make, groups, and grants of roles."""
