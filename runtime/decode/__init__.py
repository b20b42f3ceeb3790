"""The token engine for decoder-only graphs: slots, prefix cache, sampling."""
