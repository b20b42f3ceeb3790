"""Triton Inference Server: what is served, the Python models' side, and an embedded server."""
