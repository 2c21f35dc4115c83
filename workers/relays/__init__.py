"""Which relay takes what, and how much of it."""
