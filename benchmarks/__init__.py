"""Measurements, side by side and as ratios."""
