"""Models on disk: the registry, manifests, the store, what brings them."""
