"""OpenVoice (Qin et al. 2023), which converts one voice into another, from its state dict alone."""
