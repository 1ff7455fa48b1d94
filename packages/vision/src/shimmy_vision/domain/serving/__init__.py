"""What is promised to programs that the server calls."""
