"""The log of events as monitor keeps it: in pages, with filters."""
