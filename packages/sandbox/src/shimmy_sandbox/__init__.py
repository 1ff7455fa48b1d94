"""Loopback stand-ins for what Shimmy Vision talks to. For tests and demos, not for production."""

__version__ = "0.1.0"
