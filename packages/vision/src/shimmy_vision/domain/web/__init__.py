"""What may be asked of the web, and what is read from one page of it."""
