"""Commands on the bus: one file per service that obeys them."""
