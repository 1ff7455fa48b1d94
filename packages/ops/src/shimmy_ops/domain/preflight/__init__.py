"""Whether everything is set up: what was gathered, and the checks that rest on it."""
