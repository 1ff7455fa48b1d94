"""Blank Stripe objects: every field the API promises, before the trade fills it in."""
