"""What the content filter is made of: texts as it compares them, words in them, lists and rules."""
