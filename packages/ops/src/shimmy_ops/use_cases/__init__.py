"""What an operator does, one function a module."""
