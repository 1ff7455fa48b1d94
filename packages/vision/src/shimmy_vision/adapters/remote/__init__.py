"""Models that other machines run."""
