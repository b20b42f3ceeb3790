"""VITS (Kim et al. 2021) as Coqui trains it, and as others do, from its state dict alone."""
