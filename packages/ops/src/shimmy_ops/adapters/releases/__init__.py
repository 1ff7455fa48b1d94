"""Releases on a disk, and the places that they go to."""
