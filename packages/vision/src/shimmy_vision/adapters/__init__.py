"""The outside world: llama.cpp, llguidance, Pillow, the disk, the network."""
