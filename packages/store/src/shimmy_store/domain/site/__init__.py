"""The static site as values: what it is built from, and what is wrong with one that was built."""
