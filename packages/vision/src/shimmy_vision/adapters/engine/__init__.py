"""The model in this process: llama.cpp, its turns and what is kept of them."""
