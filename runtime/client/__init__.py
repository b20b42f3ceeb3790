"""The client for voice turns on a Triton server."""

from voxturn.runtime.client.voice import VoiceClient

__all__ = ["VoiceClient"]
