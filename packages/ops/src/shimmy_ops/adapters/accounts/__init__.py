"""Stripe and Keygen."""
