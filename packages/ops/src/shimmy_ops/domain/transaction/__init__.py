"""The live transaction: its steps, what each must see, and the receipt that is kept of it."""
