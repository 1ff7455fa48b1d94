"""What is kept of a licence, and the server that is asked."""
