"""The models of the library, one file each."""
