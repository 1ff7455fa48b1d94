"""Receipts on disk, a customer's machine, and whoever pays."""
