"""The model repository for Triton Inference Server. `voxturn serve triton` serves it."""
