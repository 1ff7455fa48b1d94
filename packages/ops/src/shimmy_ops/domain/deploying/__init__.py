"""Deploying: what must hold before and after, which commands, and what would change."""
