"""A customer with a real browser: page objects over Playwright, for journeys and demos."""
