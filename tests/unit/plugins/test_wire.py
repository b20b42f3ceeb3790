from __future__ import annotations

import importlib
import importlib.util
import json

import pytest
from voxturn.runtime.errors import ExecutorUnavailable, ServerDied, UsageError
from voxturn.runtime.gateway.voice.messages import AudioHeader
from voxturn.runtime.plugins.wire import address_of, audio_of, headers_of, told


def test_an_address_is_a_gateway_s_by_http_or_by_websocket() -> None:
    assert address_of("http://a:1", "/ws/say") == "ws://a:1/ws/say"
    assert address_of("https://a/", "/ws/say") == "wss://a/ws/say"
    assert address_of("ws://a", "/ws/hear") == "ws://a/ws/hear"
    for url in ("a:1", "ftp://a", "http://", ""):
        with pytest.raises(UsageError) as refused:
            address_of(url, "/ws/say")
        assert refused.value.exit_code == 2
        assert "\n" not in str(refused.value)


def test_a_message_has_what_is_given() -> None:
    assert json.loads(told("say", id="a", voice="", style=None, more=False)) == {
        "type": "say",
        "id": "a",
        "more": False,
    }
    assert headers_of("") == {}
    assert headers_of("k") == {"authorization": "Bearer k"}


def test_audio_says_whose_it_is() -> None:
    assert audio_of(AudioHeader(0, 7, 0, 0, 1).pack() + b"ab") == (7, b"ab")
    for frame in (b"", b"\2" * 30):
        with pytest.raises(ServerDied):
            audio_of(frame)


@pytest.mark.parametrize("name", ["pipecat", "livekit"])
def test_without_its_framework_a_plugin_says_what_to_install(name: str) -> None:
    assert importlib.util.find_spec(name) is None, "these tests run without the frameworks"
    with pytest.raises(ExecutorUnavailable, match=f"voxturn\\[{name}\\]") as refused:
        importlib.import_module(f"voxturn.runtime.plugins.{name}")
    assert refused.value.exit_code == 6
