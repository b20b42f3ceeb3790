from __future__ import annotations

from dataclasses import dataclass

from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.sessions import ENDS, SessionInfo, Sessions


@dataclass
class Held:
    """A session as the registry knows it."""

    id: str
    owner: str

    def info(self) -> SessionInfo:
        raise NotImplementedError

    async def end(self, reason: ENDS) -> None:
        raise NotImplementedError


ANA = Caller("ana")
HERE, THERE = (Caller("", "anyone", address=each) for each in ("10.0.0.1", "10.0.0.2"))


def test_a_session_is_its_key_s_or_without_one_its_address_s() -> None:
    sessions = Sessions()
    held = [Held(f"sess_{each.client}", each.client) for each in (ANA, HERE, THERE)]
    for each in held:
        sessions.add(each)
    for caller, own in zip((ANA, HERE, THERE), held, strict=True):
        assert list(sessions.owned(caller)) == [own]
        assert sessions.find(caller, own.id) is own
    assert sessions.find(THERE, held[1].id) is None
