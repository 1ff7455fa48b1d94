"""What is watched: figures, objectives, alerts."""
