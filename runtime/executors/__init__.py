"""Tensors in, tensors out. The modules here are the only ones that import inference libraries."""
