"""What a server does only for those who know its secret, which whoever starts it makes.

Loading a model runs its Python code, and the other interfaces here write files or map memory: they
are for the server's own supervisor. Inference, health and metadata are open to whoever reaches the
port.
"""

from __future__ import annotations

RESTRICTED = ("model-repository", "shared-memory", "trace", "logging", "statistics")
"""The interfaces, by Triton's names for them."""

_KEY = "voxturn-secret"
"""The header that carries the secret; over gRPC Triton expects its name behind a prefix."""
_GRPC_PREFIX = "triton-grpc-protocol-"


def restricting(secret: str) -> list[str]:
    """The options of `tritonserver` that restrict them on both protocols."""
    rule = f"{','.join(RESTRICTED)}:{_KEY}={secret}"
    return [f"--grpc-restricted-protocol={rule}", f"--http-restricted-api={rule}"]


def headers(secret: str) -> dict[str, str]:
    """The metadata of a gRPC call that needs the secret; empty: none."""
    return {f"{_GRPC_PREFIX}{_KEY}": secret} if secret else {}
