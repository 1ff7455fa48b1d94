"""Shimmy Vision: an image in, strict JSON out, on your own machine."""

__version__ = "0.1.0"
