"""What every handler of the gateway is given: the engines, the settings, and what is shared."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType

from limits.aio.storage import Storage
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.flow.clock import Clock, WallClock
from voxturn.runtime.flow.handoff import cancel_all
from voxturn.runtime.gateway.canary import Canary
from voxturn.runtime.gateway.client_voices import ClientVoices
from voxturn.runtime.gateway.holders import Holders
from voxturn.runtime.gateway.keys import Keys, NoKeys
from voxturn.runtime.gateway.limits import Limits
from voxturn.runtime.gateway.logs import turn_ended
from voxturn.runtime.gateway.metrics import Metrics, OccupancyGauges
from voxturn.runtime.gateway.peers import NoPeers, Peers
from voxturn.runtime.gateway.places import OwnPlaces, Places
from voxturn.runtime.gateway.realtime.last_answers import LastAnswers
from voxturn.runtime.gateway.realtime.secrets import Secrets, SecretsInMemory
from voxturn.runtime.gateway.sessions import Sessions
from voxturn.runtime.gateway.speeches import Speeches
from voxturn.runtime.gateway.store import Conversations, InMemory
from voxturn.runtime.gateway.sweeping import sweeping
from voxturn.runtime.gateway.telemetry import NoTelemetry, Telemetry
from voxturn.runtime.gateway.voices import Voices
from voxturn.runtime.gateway.work import Calls, Work
from voxturn.runtime.gateway_settings import GatewaySettings

_REFRESH_S = 5.0


@dataclass(frozen=True)
class Shared:
    """Places that the processes of one machine count together, for conversations, for texts that
    are spoken, for requests and for connections."""

    sessions: Places
    speeches: Places
    calls: Places
    connections: Places


@dataclass
class Gateway:
    """One process of the gateway. `stopping` is set once no new work is taken.

    `windows` and `shared`: what several processes count together; `peers`: the others.
    """

    assistant: Assistant
    settings: GatewaySettings = field(default_factory=GatewaySettings)
    keys: Keys = field(default_factory=NoKeys)
    conversations: Conversations = field(default_factory=InMemory)
    clock: Clock = field(default_factory=WallClock)
    windows: Storage | None = None
    shared: Shared | None = None
    telemetry: Telemetry = field(default_factory=NoTelemetry)
    secrets: Secrets = field(default_factory=SecretsInMemory)
    peers: Peers = field(default_factory=NoPeers)

    def __post_init__(self) -> None:
        clients = ClientVoices(self.assistant.cloning, self.settings.voices_of_key)
        self.voices = Voices(self.assistant, self.settings.voices, clients)
        slots = slots_of(self.assistant)
        settings, shared = self.settings, self.shared
        self.limits = Limits(settings, slots, self.windows, shared.sessions if shared else None)
        speeches = shared.speeches if shared else OwnPlaces(settings.speeches)
        self.speeches = Speeches(speeches, settings.speeches_of_key)
        self.connections = shared.connections if shared else OwnPlaces(settings.connections)
        self.metrics = Metrics()
        self._occupancy = OccupancyGauges(
            self.metrics,
            lambda: (self.limits.most, self.limits.sessions),
            self.assistant.occupancy,
        )
        self.metrics.on_turn += [
            partial(turn_ended, content=self.settings.log_content),
            self.telemetry.turn,
        ]
        self.canary = Canary(self.assistant, self.clock, self.settings.canary_s)
        self.sessions = Sessions()
        self.holders = Holders(self.conversations, self.peers)
        self.last_answers = LastAnswers()
        self.stopping = asyncio.Event()
        self.work = Work()
        calls = shared.calls if shared else None
        self.calls = Calls(self.keys, self.clock, settings.connections_of_key, calls)
        self._tasks: list[asyncio.Task[None]] = []

    async def draining(self) -> None:
        """Returns once the gateway stops: let the turn end that runs, then close with 1012."""
        await self.stopping.wait()

    async def drained(self) -> None:
        """Returns once no work runs any more, at most `drain_s` later."""
        await self.work.ended_by(self.clock, self.clock.now() + self.settings.drain_s)

    async def __aenter__(self) -> Gateway:
        self._tasks.append(asyncio.create_task(self.calls.watch()))
        kept = (self.conversations, self.secrets, self.windows)
        self._tasks.append(asyncio.create_task(sweeping(kept, self.clock)))
        if self.metrics.shared:
            self._tasks.append(asyncio.create_task(self._refresh()))
        return self

    async def _refresh(self) -> None:
        """Tell how busy this process is, also while Prometheus asks another one."""
        while True:
            self._occupancy.refresh()
            await self.clock.sleep_until(self.clock.now() + _REFRESH_S)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """Take no new work, and end what runs."""
        self.stopping.set()
        await self.canary.aclose()
        await cancel_all(self._tasks)
        await self.sessions.aclose()
        await asyncio.to_thread(self.voices.clients.close)


def slots_of(assistant: Assistant) -> int:
    """How many conversations the engines have places for."""
    reply = assistant.profile.reply.slots
    return reply if reply is not None else 2
