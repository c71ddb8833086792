"""Extensions: software of others that hears a project's events and says its own."""
