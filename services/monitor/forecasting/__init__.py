"""When tasks will begin and end: from the order of the desk and from how long such tasks took before."""
