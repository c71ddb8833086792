"""The data sets of the library, one file each."""
