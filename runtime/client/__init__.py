"""The client for voice turns on Triton servers."""

from voxturn.runtime.client.devices import Loudspeaker, microphone
from voxturn.runtime.client.sync import synchronous
from voxturn.runtime.client.voice import ClientTurn, VoiceClient

SyncVoiceClient = synchronous(VoiceClient, "SyncVoiceClient")

__all__ = ["ClientTurn", "Loudspeaker", "SyncVoiceClient", "VoiceClient", "microphone"]
