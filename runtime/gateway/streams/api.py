"""The addresses of hearing alone and of speaking alone."""

from __future__ import annotations

from voxturn.runtime.gateway.operations import Socket
from voxturn.runtime.gateway.streams import hear, say

SOCKETS = (
    Socket("/ws/hear", hear.serve),
    Socket("/ws/say", say.serve),
)
