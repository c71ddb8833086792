"""What every service stands on; imports nothing of services/."""
