"""Releases: what was put in place when, and what is to be put in place now."""
