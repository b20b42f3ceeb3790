"""Text: tokenizers, chat prompts, clause splitting, the content filter."""
