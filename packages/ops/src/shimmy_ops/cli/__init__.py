"""The `shimmy-ops` command."""
