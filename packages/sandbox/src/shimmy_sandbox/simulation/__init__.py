"""What every simulator shares: a clock, faults, a loopback server and their controls."""
