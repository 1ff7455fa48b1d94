"""Where the store is told its secrets, and whether it and their issuers believe them."""
