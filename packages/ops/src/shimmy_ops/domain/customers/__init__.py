"""One customer: what names them, what is known of them, what to do, and how they are forgotten."""
