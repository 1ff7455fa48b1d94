"""Reads what is watched, keeps samples, sends alerts, shows pictures."""
