"""Benchmarks: warm-up, raw samples, percentiles, environment and artifact hashes.

Nothing imports this package.
"""
