"""Where a batch reads its rows and writes what came of them."""
