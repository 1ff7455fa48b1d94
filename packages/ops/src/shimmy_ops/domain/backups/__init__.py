"""Backups: what is in one, whether it is whole, which ones may go."""
