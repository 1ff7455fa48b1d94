"""What a file is, what part of an image is shown to the model, and what was read where."""
