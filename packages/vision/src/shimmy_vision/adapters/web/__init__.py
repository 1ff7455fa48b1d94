"""The way to the web: fetching, posting, a browser, and what guards them."""
