"""What is kept of customers on this machine: exports and receipts."""
