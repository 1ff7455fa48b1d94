"""Which files are MiniCPM-V, which one to run, how to fetch it."""
