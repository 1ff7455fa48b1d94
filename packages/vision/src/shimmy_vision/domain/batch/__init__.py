"""A batch: many images as rows, resumable, each counted once."""
