"""Whisper: hears."""
