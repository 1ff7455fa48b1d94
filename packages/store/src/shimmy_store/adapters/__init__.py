"""Where the store's data comes from."""
