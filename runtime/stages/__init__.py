"""One file a stage: an async iterator in, an async iterator out. Stages never import each other."""
