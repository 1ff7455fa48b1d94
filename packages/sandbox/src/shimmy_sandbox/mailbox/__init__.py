"""A stand-in for a mail server and for a mail API: what is sent stays here and can be read."""
