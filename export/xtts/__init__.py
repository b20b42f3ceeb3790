"""XTTS v2."""
