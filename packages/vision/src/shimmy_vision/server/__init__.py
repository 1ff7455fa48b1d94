"""The HTTP entry point. So far: which status each error answers with."""
