"""A licence server that speaks Keygen's wire format, on SQLite, for loopback only.

Wire names are American, as Keygen's; ours are British.
"""
