"""When speech over an answer cuts it: a strategy a file, chosen in the profile."""
