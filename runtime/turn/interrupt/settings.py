"""The table `[interrupt]` of a profile."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class InterruptSettings:
    """What cuts an answer. A key that is None has the strategy's own value; one that the strategy
    has not is refused.

    `strategy`: `speech` (at once), `after_ms` (of speech), `words` (that are neither the answer's
    own nor a listener's "mhm") or `never`. `ms` and `words` say how much. `pause_ms` of speech
    pause the playback until it is known whether the answer is cut; 0: it is never paused.
    """

    strategy: str = "words"
    ms: int | None = None
    words: int | None = None
    pause_ms: int | None = None

    def given(self) -> dict[str, int]:
        """The keys beside `strategy` that are not None."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            key: value for key, value in values.items() if key != "strategy" and value is not None
        }
