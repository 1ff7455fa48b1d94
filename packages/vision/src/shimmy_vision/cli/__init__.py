"""The `shimmy` command."""
