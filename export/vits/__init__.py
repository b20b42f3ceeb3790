"""Piper VITS voices."""
