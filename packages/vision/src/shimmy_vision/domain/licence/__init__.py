"""Who may analyse, for how long without asking again, and how pages are counted."""
