"""What a packed native library says of itself, and whether it may be loaded."""
