"""Search indexes: texts of a project, found by meaning and by words at once."""
