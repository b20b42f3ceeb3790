"""A spoken turn: listen, recognise, reply, split, speak; its memory and its trace."""
