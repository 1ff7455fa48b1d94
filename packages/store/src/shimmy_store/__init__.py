"""Checkout, licences delivered exactly once, customer portal."""

__version__ = "0.1.0"
