"""What preflight asks of the outside world besides accounts and the store's desk."""
