"""The `shimmy-sandbox` command."""
