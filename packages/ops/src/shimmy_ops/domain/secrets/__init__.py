"""What is a secret, where was it found, and what may stay: decided from text and bytes alone."""
