"""What is promised of every server's answers: 99 of 100 in time, and how few may be wrong."""

ALLOWED_MS = 500.0
ALLOWED_ERRORS = 0.001
