"""Unit tests are judged by what they find, never by how long a busy machine takes over an example."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
