"""Sealed archives on this machine, and the store's command beside them."""
