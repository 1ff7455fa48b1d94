"""The program as it lies on this machine: its files, its folders, its processes."""
