"""Commands that deploy, the bundles they take, and what became of them."""
