from __future__ import annotations

import os
import subprocess
import sys
from subprocess import PIPE

import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from voxturn.runtime.gateway.metrics import (
    Metrics,
    OccupancyGauges,
    shared_by_workers,
    worker_ended,
)
from voxturn.runtime.messages import PcmChunk, Sentence
from voxturn.runtime.parts import Occupancy
from voxturn.runtime.turn.trace import InterruptDecision, StageInfo, Trace


def trace() -> Trace:
    """Of a turn whose first audio came after 0.5 s, and its second chunk 0.25 s too late."""
    idle = StageInfo("m", "fp32", "fake", "", 1)
    made = Trace("demo", {"vocode": idle}, "native")
    made.marks = {"speech_end": 10.0, "endpoint": 10.25}
    sound = np.full(2400, 0.5, np.float32)
    sentence = Sentence("Yes.", 0)
    made.chunks = [
        (10.75, PcmChunk(sound, 24_000, 0, sentence)),
        (11.1, PcmChunk(sound, 24_000, 2400, sentence)),
    ]
    made.call("reply", 10.25, 10.5)
    made.call("reply", 10.5, 10.75)
    made.call("speak", 10.5, 10.75)
    made.interruptions = [InterruptDecision("ignored", "echo", "", 11.0, 10)]
    made.prompt("reply", 5, 20)
    made.ended("done")
    return made


def values(metrics: Metrics) -> dict[str, float]:
    """Samples by name and the values of their labels."""
    metrics.refresh()
    return samples(metrics.text().decode())


def samples(text: str) -> dict[str, float]:
    return {
        "/".join([sample.name, *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_turn_is_counted_and_timed() -> None:
    metrics, listened = Metrics(), []
    metrics.on_turn.append(listened.append)
    turn = trace()
    metrics.turn(turn)
    told = values(metrics)
    expected = {
        "voxturn_turns_total/done": 1,
        "voxturn_underruns_total": 1,
        "voxturn_stalled_seconds_total": 0.25,
        "voxturn_first_audio_seconds_sum/turn": 0.5,
        "voxturn_endpoint_wait_seconds_sum": 0.25,
        "voxturn_turn_seconds_sum": 0.85,
        "voxturn_stage_seconds_sum/reply": 0.5,
        "voxturn_stage_seconds_sum/speak": 0.25,
        "voxturn_prompt_tokens_total/computed": 5,
        "voxturn_prompt_tokens_total/reused": 20,
        "voxturn_interruptions_total/ignored": 1,
    }
    assert {name: round(told[name], 6) for name in expected} == expected
    assert listened == [turn]
    assert not [name for name in told if "vocode" in name]  # it had nothing to do


def test_a_turn_that_said_nothing_is_counted_alone() -> None:
    metrics, silent = Metrics(), Trace("demo", {}, "native")
    silent.ended("cancelled")
    metrics.turn(silent)
    told = values(metrics)
    assert told["voxturn_turns_total/cancelled"] == 1
    assert told["voxturn_turn_seconds_count"] == 0


def test_only_what_is_not_possible_now_counts_as_refused() -> None:
    metrics = Metrics()
    metrics.refused(429, "session_limit_reached")
    metrics.refused(404, "voice_not_found")
    told = values(metrics)
    assert told["voxturn_refusals_total/session_limit_reached"] == 1
    assert not [name for name in told if "voice_not_found" in name]


def test_places_are_asked_for_when_prometheus_asks() -> None:
    metrics, taken = Metrics(), [1]
    busy = {"reply": Occupancy(4, 3, 2), "transcribe": Occupancy(waiting=1)}
    OccupancyGauges(metrics, lambda: (8, taken[0]), lambda: busy)
    assert values(metrics)["voxturn_session_places_used"] == 1
    taken[0] = 2
    told = values(metrics)
    assert told["voxturn_session_places"] == 8
    assert told["voxturn_session_places_used"] == 2
    assert told["voxturn_slots/reply"] == 4
    assert told["voxturn_slots_used/reply"] == 3
    assert told["voxturn_queue/reply"] == 2
    assert told["voxturn_queue/transcribe"] == 1
    assert "voxturn_slots/transcribe" not in told


WORKER = """
import sys
from voxturn.runtime.gateway.metrics import Metrics, OccupancyGauges
from voxturn.runtime.parts import Occupancy
metrics = Metrics()
OccupancyGauges(metrics, lambda: (8, 3), lambda: {"reply": Occupancy(2, 1, 1)})
metrics.requests.labels("/x", "200").inc(int(sys.argv[1]))
metrics.sessions.labels("realtime").set(1)
metrics.ready.set(int(sys.argv[1]) > 2)
metrics.refresh()
print("ready", file=sys.stderr, flush=True)
sys.stdin.read(1)
sys.stdout.buffer.write(metrics.text())
"""


def test_workers_count_together() -> None:
    with shared_by_workers():
        command = [sys.executable, "-P", "-c", WORKER]
        workers = [
            subprocess.Popen([*command, n], stdin=PIPE, stdout=PIPE, stderr=PIPE)
            for n in ("2", "5")
        ]
        told = []
        for worker in workers:
            assert worker.stderr is not None
            assert worker.stderr.readline() == b"ready\n"
        for worker in workers:  # the second is asked once the first has ended
            told.append(worker.communicate(b"x")[0].decode())
            worker_ended(worker.pid)
    both, one = map(samples, told)
    assert both["voxturn_requests_total//x/200"] == one["voxturn_requests_total//x/200"] == 7
    assert (both["voxturn_sessions/realtime"], one["voxturn_sessions/realtime"]) == (2, 1)
    assert (both["voxturn_slots/reply"], one["voxturn_slots/reply"]) == (4, 2)
    assert (both["voxturn_session_places"], both["voxturn_session_places_used"]) == (8, 3)
    assert (both["voxturn_ready"], one["voxturn_ready"]) == (0, 1)
    assert "PROMETHEUS_MULTIPROC_DIR" not in os.environ


def test_names_keep_to_prometheus_conventions() -> None:
    metrics = Metrics()
    OccupancyGauges(metrics, lambda: (1, 0), dict)
    for family in metrics.registry.collect():
        if not family.name.startswith("voxturn_"):
            continue
        assert family.documentation
        assert not family.name.endswith(("_ms", "_milliseconds", "_count", "_total")), family.name
        if family.type == "histogram":
            assert family.name.endswith("_seconds")
