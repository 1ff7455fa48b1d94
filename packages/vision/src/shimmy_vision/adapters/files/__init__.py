"""Images, documents and model files."""
