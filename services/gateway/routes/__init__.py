"""The routes of the control API, by theme."""
