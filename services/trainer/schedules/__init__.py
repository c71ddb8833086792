"""Trainings that begin by the clock, or when something happens."""
