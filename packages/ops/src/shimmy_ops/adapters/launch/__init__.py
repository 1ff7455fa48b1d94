"""The launch's record, the commands that it runs, and its report."""
