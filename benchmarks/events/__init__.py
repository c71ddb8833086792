"""What the event plane costs: from a change committed to the effect of its event committed."""
