"""Voice conversion: speech to the same words in another voice."""
