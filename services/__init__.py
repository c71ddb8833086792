"""The services of the platform, each a package of its own that imports no other."""
