"""Pure values and decisions of the store."""
