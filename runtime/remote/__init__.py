"""Models behind a server: the wire and what is sent over it."""
