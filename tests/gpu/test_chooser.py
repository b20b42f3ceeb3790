"""Tokens chosen on the fake GPU, a step ahead of the host: the same as when the host chooses each
before the next step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voxturn.runtime.decode.ahead import Choosing, StepsAhead
from voxturn.runtime.decode.engine import DecodeEngine
from voxturn.runtime.decode.generation import Follow, Generation, Request
from voxturn.runtime.decode.sampler import Sampling
from voxturn.runtime.errors import InferenceFailed
from voxturn.runtime.executors.cuda.device_chooser import Chooser
from voxturn.runtime.executors.cuda.device_decoder import DeviceDecoder
from voxturn.runtime.executors.cuda.kernels import CudaKernels
from voxturn.runtime.executors.cuda.library import Cuda
from voxturn.runtime.executors.cuda.streams import Streams
from voxturn.runtime.executors.cuda.tensorrt_engine import Engine
from voxturn.runtime.models.manifest import Manifest

from tests.gpu.conftest import Portable
from tests.gpu.fakes import FakeCuda, FakeKernels, FakeTensorRt

SLOTS = 4


class Bench:
    """A decoder on the fake GPU that chooses tokens itself, and one that does not."""

    def __init__(self, artifact: Path, kernels: CudaKernels) -> None:
        self.contract = Manifest.read(artifact).graphs["token_decoder"]
        self.fake = FakeCuda()
        self.trt, self.cuda = FakeTensorRt(self.fake), Cuda(self.fake)
        self.streams = Streams(self.cuda)
        plan = b"onnx:" + str(artifact / self.contract.file).encode()
        engines = [Engine(self.trt, self.cuda, self.streams.of("reply"), plan) for _ in range(2)]
        fake_kernels: Any = FakeKernels(self.fake, kernels)
        self.ahead = DeviceDecoder(engines[0], self.contract, SLOTS, fake_kernels)
        self.host = DeviceDecoder(engines[1], self.contract, SLOTS)

    def close(self) -> None:
        self.ahead.close()
        self.host.close()
        self.streams.close()
        assert self.fake.alive == 0, "something was not freed"


@pytest.fixture
def bench(portable: Portable, kernels: CudaKernels) -> Iterator[Bench]:
    made = Bench(portable.fp32, kernels)
    yield made
    made.close()


def test_tokens_are_chosen_in_bfloat16_as_the_host_chooses_them(
    portable: Portable, kernels: CudaKernels
) -> None:
    bench = Bench(portable.bf16, kernels)
    script = random_script(3)
    assert script.run(bench.ahead) == script.run(bench.host)
    bench.close()


@dataclass
class Script:
    """When requests come, are cancelled, are held back and go on, by the engine's passes."""

    come: dict[int, list[Request]] = field(default_factory=dict)
    cancel: dict[int, int] = field(default_factory=dict)
    limits: dict[int, float] = field(default_factory=dict)

    def run(self, executor: Any) -> list[list[tuple[int, bool, float]]]:
        """What each request got."""
        engine = DecodeEngine(executor)
        going: list[Generation] = []
        for number in range(400):
            for request in self.come.get(number, []):
                going.append(engine.add(request, self.limits.get(len(going), float("inf"))))
            if number in self.cancel and self.cancel[number] < len(going):
                going[self.cancel[number]].cancelled = True
            if engine.busy:
                engine.step()
            elif number > max(self.come, default=0):
                if all(each.done for each in going):
                    break
                for each in going:
                    each.limit += 3
        assert all(each.done for each in going)
        assert not [each.error for each in going if each.error]
        assert not engine.running
        return [[(s.token, s.stop, round(s.watched, 9)) for s in each.out] for each in going]


def request(number: int, tokens: int = 12, **changes: Any) -> Request:
    """One that is like no other."""
    random = np.random.default_rng(number)
    sampling = (
        Sampling(0.9, 20, 0.9, 0.0, 1.3, number) if number % 3 else Sampling(repetition_penalty=1.2)
    )
    prompt = random.integers(0, 300, 3 + 7 * (number % 5)).tolist()
    return Request(prompt, sampling, max_tokens=tokens, **changes)


def random_script(seed: int) -> Script:
    """Requests that join and leave at any time, with and without stops, watched tokens, limits and
    cancelling."""
    random = np.random.default_rng(seed)
    script = Script()
    for number in range(int(random.integers(2, 9))):
        changes: dict[str, Any] = {}
        if random.random() < 0.4:
            changes["stop_ids"] = set(random.integers(0, 300, 60).tolist())
        if random.random() < 0.3:
            changes["watch"] = int(random.integers(0, 300))
        if random.random() < 0.2:
            changes["history"] = random.integers(0, 300, 5).tolist()
        if random.random() < 0.2:
            changes["follow"] = Follow(-25, 1)
        if random.random() < 0.15:
            changes["forced"] = (5, 6, 7)
        if random.random() < 0.3:
            script.limits[number] = 4.0
        tokens = int(random.integers(1, 20))
        script.come.setdefault(int(random.integers(0, 30)), []).append(
            request(100 * seed + number, tokens, **changes)
        )
    if random.random() < 0.5:
        script.cancel[int(random.integers(5, 30))] = int(random.integers(0, 3))
    return script


def same(ours: list[list[Any]], theirs: list[list[Any]], cancelled: set[int]) -> None:
    """Equal but for those that were cancelled, which may have got some steps more or less."""
    for number, (got, wanted) in enumerate(zip(ours, theirs, strict=True)):
        length = min(len(got), len(wanted)) if number in cancelled else None
        for mine, other in zip(got[:length], wanted[:length], strict=True):
            assert mine[:2] == other[:2], number
            assert mine[2] == pytest.approx(other[2], abs=1e-6)


@pytest.mark.parametrize("seed", range(25))
def test_whoever_joins_and_leaves_the_tokens_are_the_host_s(bench: Bench, seed: int) -> None:
    script = random_script(seed)
    # the order of requests is the scripts' own: in one of them none waits longer than in the other
    same(script.run(bench.ahead), script.run(bench.host), set(script.cancel.values()))


def test_a_step_is_in_flight_while_the_host_reads_the_one_before(bench: Bench) -> None:
    assert isinstance(bench.ahead, Choosing)
    assert bench.host.chooser is None
    engine = DecodeEngine(bench.ahead)
    sequence = engine.add(request(1, 30))
    engine.step()
    bench.fake.calls.clear()
    for _ in range(8):
        engine.step()
    names = [call[0] for call in bench.fake.calls]
    assert names.count("cudaStreamBeginCapture") == 2  # one for each set of pinned memory
    assert names.count("cudaGraphLaunch") == 9
    steady = names[-6:]
    assert steady == ["cudaGraphLaunch", "cudaEventRecord", "cudaEventSynchronize"] * 2
    assert "cudaMemcpyAsync" not in names[-12:]  # the token stays where it is
    assert sequence.given == 9
    sequence.cancelled = True
    engine.step()


def test_what_the_kernel_has_not_is_chosen_on_the_host(bench: Bench) -> None:
    for sampling in (Sampling(0.8), Sampling(0.8, 2000)):
        script = Script({0: [Request([1, 2], sampling, max_tokens=5)]})
        bench.fake.calls.clear()
        same(script.run(bench.ahead), script.run(bench.host), set())
        assert "cudaEventSynchronize" not in [call[0] for call in bench.fake.calls]


def test_a_history_beyond_the_vocabulary_ends_its_sequence_alone(bench: Bench) -> None:
    engine = DecodeEngine(bench.ahead)
    good, bad = engine.add(request(1, 8)), engine.add(request(2, 8))
    while bad.given < 2:
        engine.step()
    bad.history[0] = 1 << 40
    engine._ahead._held.clear()  # type: ignore[union-attr]  # as after another one's leaving
    while engine.busy:
        engine.step()
    assert isinstance(bad.error, InferenceFailed)
    assert "history holds an id outside the vocabulary; the model's output is damaged" in str(
        bad.error
    )
    assert (good.error, good.given) == (None, 8)


def test_a_step_that_fails_ends_those_who_wait_for_it_and_the_next_ones_go_on(bench: Bench) -> None:
    engine = DecodeEngine(bench.ahead)
    sequence = engine.add(request(1, 20))
    for _ in range(3):
        engine.step()
    bench.fake.fails = "cudaGraphLaunch"
    engine.step()
    assert isinstance(sequence.error, InferenceFailed)
    assert "cudaGraphLaunch failed with error 700" in str(sequence.error)
    bench.fake.fails = ""
    script = Script({0: [request(3, 9)]})
    wanted = script.run(bench.host)
    again = engine.add(request(3, 9))
    while engine.busy:
        engine.step()
    assert [step.token for step in again.out] == [token for token, _, _ in wanted[0]]


def test_a_third_step_in_flight_is_refused(bench: Bench) -> None:
    chooser = bench.ahead.chooser
    assert chooser is not None
    chooser.start(0, 1, 5, [5], 0, Sampling(), Follow())
    chooser.choose(0, 1, False)
    chooser.choose(0, 1, False)
    with pytest.raises(InferenceFailed, match="2 steps are in flight already"):
        chooser.choose(0, 1, False)
    chooser.abandon()


MUTATIONS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "no position on": lambda patch: patch.setattr(FakeKernels, "advance", lambda *_: None),
    "read too soon": lambda patch: patch.setattr(Cuda, "reached", lambda *_: None),
    "no mark behind a step": lambda patch: patch.setattr(Cuda, "record", lambda *_: None),
    "one set of pinned memory": lambda patch: patch.setattr(
        Chooser, "choose", _with(Chooser.choose, lambda self: setattr(self, "_number", 0))
    ),
    "a new sequence that does not start": lambda patch: patch.setattr(
        Chooser, "start", lambda *_: None
    ),
    "whoever paused is taken to be where it was": lambda patch: patch.setattr(
        StepsAhead,
        "_begin",
        _with(StepsAhead._begin, lambda self: setattr(self, "_held", _Kept(self._held))),
    ),
    "the state of the slot before": lambda patch: patch.setattr(
        "voxturn.runtime.executors.cuda.device_chooser._row", lambda buffer, slot: buffer.device
    ),
}


class _Kept(dict[int, Any]):
    """Remembers who is on the device, and never that an idle slot is."""

    def __setitem__(self, key: int, value: Any) -> None:
        if isinstance(value, Generation):
            super().__setitem__(key, value)


def _with(method: Any, before: Callable[[Any], None]) -> Any:
    def changed(self: Any, *arguments: Any) -> Any:
        before(self)
        return method(self, *arguments)

    return changed


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_mistake_makes_a_test_fail(
    mutation: str, portable: Portable, kernels: CudaKernels, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(portable.fp32, kernels)
    wanted = [random_script(seed).run(bench.host) for seed in range(25)]
    bench.close()
    MUTATIONS[mutation](monkeypatch)
    bench = Bench(portable.fp32, kernels)
    with pytest.raises((AssertionError, InferenceFailed)):
        for seed, theirs in enumerate(wanted):
            script = random_script(seed)
            same(script.run(bench.ahead), theirs, set(script.cancel.values()))
