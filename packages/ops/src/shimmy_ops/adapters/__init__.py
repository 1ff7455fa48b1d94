"""The ports on git, archives, folders and the network."""
