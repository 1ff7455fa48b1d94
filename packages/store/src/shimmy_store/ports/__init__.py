"""What the store's use cases need of the outside world, as protocols and plain values."""
