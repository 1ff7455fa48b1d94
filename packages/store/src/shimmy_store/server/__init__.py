"""The store over HTTP: pages for people, JSON for programs, Stripe's webhook."""
