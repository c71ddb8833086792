"""Tasks on the nodes of a Ray cluster: the same modules, started there, with their files shipped to and fro."""
