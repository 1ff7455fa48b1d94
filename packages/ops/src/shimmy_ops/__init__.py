"""The operator's tools: from test mode to live mode, each step verified by a command."""

__version__ = "0.1.0"
