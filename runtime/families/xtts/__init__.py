"""XTTS v2: speaks in a cloned voice."""
