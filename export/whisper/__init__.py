"""Whispers of every size, from transformers' or CTranslate2's layout."""
