"""The operator's files and keyring: profile, secrets, contracts."""
