"""What is read to look for secrets."""
