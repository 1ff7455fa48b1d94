"""The store, over its operator API."""
