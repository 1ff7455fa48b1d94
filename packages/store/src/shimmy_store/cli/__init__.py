"""The `shimmy-store` command."""
