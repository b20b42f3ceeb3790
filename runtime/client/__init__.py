"""The client for voice turns on Triton servers."""

from voxturn.runtime.client.devices import Loudspeaker, microphone
from voxturn.runtime.client.sync import synchronous
from voxturn.runtime.client.voice import ClientTurn, VoiceClient
from voxturn.runtime.turn.session import Session
from voxturn.runtime.turn.voice_session import VoiceSession

SyncVoiceClient = synchronous(VoiceClient, "SyncVoiceClient")
SyncSession = synchronous(Session, "SyncSession", of=VoiceSession)

__all__ = [
    "ClientTurn",
    "Loudspeaker",
    "SyncSession",
    "SyncVoiceClient",
    "VoiceClient",
    "VoiceSession",
    "microphone",
]
