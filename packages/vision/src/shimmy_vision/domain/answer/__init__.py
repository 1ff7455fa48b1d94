"""What is asked of the model, under which schema, and what becomes of its answer."""
