"""From the packed native library to functions that can be called."""
