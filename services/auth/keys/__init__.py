"""API keys after they were made: another secret, and when and how often they are used."""
