"""Model families: what each is, behind the protocols of `base`."""
