"""A shop that thanks for orders by email."""
