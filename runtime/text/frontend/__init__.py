"""Text to the ids of a model's symbols, as coqui-tts's models were trained to read it: cleaner,
phonemizer, vocabulary. Without coqui-tts, which brings torch along with its tokenizer."""
