"""The launch: its plan, what was proved of it, its days, and what it must reach."""
