"""The table `[gateway]` of a profile: what applications may ask of the gateway, and how much."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class GatewaySettings:
    """The table `[gateway]` of a profile.

    `sessions`: conversations at once, in all and `sessions_of_key` of one key; 0: as many as the
    engines have slots for. `requests_per_minute` of one key; the body of each has to have come
    within `request_s`, and so has its answer; speech may take as much longer as it lasts, and of a
    recording each utterance has that time. `speeches`: texts that are
    spoken at once, in all and `speeches_of_key` of one key. `longest_text`: characters to be
    spoken; `longest_upload_mb`; `longest_audio_s` of an upload. `voices_of_key`: voices that one
    key may have added. A session that
    says nothing for `idle_s` ends, and one that lost its connection after `grace_s`; no session is
    longer than `longest_session_s`. Conversations are kept for `keep_days` (0: not at all) with
    their last `keep_messages`. `drain_s`: how long running turns may take when the gateway stops.
    `voices`: other names of voices, as `alloy = "Ana"`. `origins`: pages of other sites that may
    call the gateway (CORS), as `https://app.example`. `hosts`: names under which it may be called
    without a key, beside addresses and names of this machine. `connections` in all,
    `connections_of_key` requests and WebSockets of one key at once. `canary_s`: how long the
    answer of `/readyz` holds before another turn is tried. `log_content`: whether the log has what
    was said and answered, and errors that may quote it. `database`: where keys and conversations
    are, a file of SQLite or `postgresql://USER@HOST/NAME`; the option `--database` comes first.
    `limits`: where requests a minute are counted, as `redis://HOST`; else in the database where
    several processes share it, or in memory.
    """

    sessions: int = 0
    sessions_of_key: int = 0
    requests_per_minute: int = 600
    request_s: float = 120.0
    speeches: int = 32
    speeches_of_key: int = 16
    longest_text: int = 4096
    longest_upload_mb: int = 25
    longest_audio_s: float = 900.0
    voices_of_key: int = 32
    idle_s: float = 600.0
    grace_s: float = 30.0
    longest_session_s: float = 7200.0
    keep_days: float = 30.0
    keep_messages: int = 1000
    drain_s: float = 30.0
    voices: Mapping[str, str] = field(default_factory=dict)
    origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    connections: int = 1024
    connections_of_key: int = 512
    canary_s: float = 15.0
    log_content: bool = False
    database: str = field(default="", repr=False)  # addresses may have passwords
    limits: str = field(default="", repr=False)
