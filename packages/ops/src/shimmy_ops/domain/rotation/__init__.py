"""Replacing a secret in steps: which there are, how far one is, and what is next."""
