"""Invitations: who gets one makes a user with a password of its own."""
