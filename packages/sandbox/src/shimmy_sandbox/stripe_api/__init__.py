"""A stand-in for Stripe on loopback: its API, hosted pages and signed webhooks, no money at all.

HTTP skin (`app`, `api`, `routes`, `parameters`), state (`store`, `books`), rules of the trade
(`invoicing`, `lifecycle`, `plan_changes`, `payments`, …), pages and controls are apart.
"""
