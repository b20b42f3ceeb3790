"""What a served model tells Triton's metrics endpoint beyond Triton's own. Every series has the
label `model`.

voxturn_first_audio_seconds     histogram  from a request to its first audio
voxturn_tokens_total            counter    tokens or audio codes generated
voxturn_prompt_positions_total  counter    positions of prompts, `from`: computed, or reused from the prefix cache
voxturn_slots_busy              gauge      sequences that hold a slot of the token engine, told at every change
voxturn_underruns_total         counter    stalls of a loudspeaker that plays each stream as it is sent
voxturn_requests_total          counter    `outcome`: done, error, cancelled
voxturn_loads_total             counter    how often the model was loaded; each beyond the first healed it
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from voxturn.runtime.decode.engine import DecodeEngine
from voxturn.runtime.flow.clock import Clock, WallClock

_BUCKETS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.2, 2.0, 5.0)


class Metrics:
    """One model's. `utilities` is Triton's `triton_python_backend_utils`."""

    def __init__(self, utilities: Any, model: str) -> None:
        self._utilities = utilities
        self._model = model
        self._families: dict[str, Any] = {}
        self._made: dict[tuple[str, str], Any] = {}
        kind = utilities.MetricFamily
        self._first = self._family(
            "first_audio_seconds", "from a request to its first audio", kind.HISTOGRAM
        ).Metric(labels={"model": model}, buckets=list(_BUCKETS))
        self._busy = self._family("slots_busy", "sequences that hold a slot", kind.GAUGE).Metric(
            labels={"model": model}
        )
        self._seen = {"computed": 0, "reused": 0, "generated": 0}
        self.count("loads", "times the model was loaded")

    def first_audio(self, seconds: float) -> None:
        """A stream's first audio came."""
        self._first.observe(seconds)

    def count(self, name: str, about: str, by: int = 1, **labels: str) -> None:
        """Add to the counter `voxturn_NAME_total`."""
        key = name, "".join(labels.values())
        if key not in self._made:
            family = self._family(f"{name}_total", about, self._utilities.MetricFamily.COUNTER)
            self._made[key] = family.Metric(labels={"model": self._model} | labels)
        self._made[key].increment(by)

    def engine(self, engine: DecodeEngine) -> None:
        """What a token engine has done since the last time, and how many of its slots are busy."""
        counts = engine.counts
        now = {"computed": counts.computed, "reused": counts.reused, "generated": counts.generated}
        grown = {name: value - self._seen[name] for name, value in now.items()}
        self._seen = now
        self.count("tokens", "tokens or audio codes generated", grown["generated"])
        for source in ("computed", "reused"):
            self.count(
                "prompt_positions", "positions of prompts", grown[source], **{"from": source}
            )
        self._busy.set(len(engine.running))

    def _family(self, name: str, about: str, kind: Any) -> Any:
        if name not in self._families:
            self._families[name] = self._utilities.MetricFamily(
                name=f"voxturn_{name}", description=about, kind=kind
            )
        return self._families[name]


class Heard:
    """One stream of audio as a loudspeaker that plays it at once hears it."""

    def __init__(self, metrics: Metrics, clock: Clock | None = None) -> None:
        self._metrics = metrics
        self._clock = clock or WallClock()
        self._asked = self._clock.now()
        self._until: float | None = None

    def sent(self, tensors: Mapping[str, Any]) -> None:
        """Tensors that go to the client now; those without audio are passed over."""
        if "pcm" not in tensors or "rate" not in tensors:
            return
        now = self._clock.now()
        if self._until is None:
            self._metrics.first_audio(now - self._asked)
            self._until = now
        elif now > self._until:
            self._metrics.count("underruns", "stalls of a loudspeaker")
            self._until = now
        self._until += tensors["pcm"].size / float(tensors["rate"][0])
