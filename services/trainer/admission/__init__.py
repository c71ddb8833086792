"""Which tasks of all services may run: fair shares for projects, and no more than the nodes have."""
