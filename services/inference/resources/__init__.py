"""How much of a node each model gets: instances by demand, and memory that models take from each other."""
