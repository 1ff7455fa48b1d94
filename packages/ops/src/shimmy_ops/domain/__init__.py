"""Pure checks of what an operator is about to release."""
