"""What only a GPU can show: the kernels in device memory, streams, a captured graph.

`make gpu` runs these.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import numpy as np
import pytest
from voxturn.runtime.decode.generation import Follow
from voxturn.runtime.decode.sampler import Sampling, sample_numpy
from voxturn.runtime.executors.cuda.kernels import CPlace, CSampling, CStep, CudaKernels
from voxturn.runtime.executors.cuda.library import Cuda
from voxturn.runtime.executors.cuda.report import devices
from voxturn.runtime.executors.cuda.streams import Streams

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not devices(), reason="there is no GPU")]


class Device:
    """Arrays on the device and back."""

    def __init__(self) -> None:
        self.cuda = Cuda()
        self.streams = Streams(self.cuda)
        self.stream = self.streams.of("speak").handle
        self._addresses: list[int] = []

    def put(self, array: np.ndarray) -> int:
        address = self.cuda.allocate(array.nbytes)
        self._addresses.append(address)
        self.cuda.copy(address, array.ctypes.data, array.nbytes, self.stream)
        self.cuda.synchronize(self.stream)
        return address

    def get(self, address: int, like: np.ndarray) -> np.ndarray:
        out = np.empty_like(like)
        self.cuda.copy(out.ctypes.data, address, out.nbytes, self.stream)
        self.cuda.synchronize(self.stream)
        return out

    def close(self) -> None:
        for address in self._addresses:
            self.cuda.free(address)
        self.streams.close()


@pytest.fixture
def device() -> Iterator[Device]:
    made = Device()
    yield made
    made.close()


def test_the_sampler_s_tokens_are_the_numpy_twin_s(device: Device) -> None:
    random, kernels, batch, size = np.random.default_rng(0), CudaKernels(), 8, 1026
    for _ in range(50):
        logits = (3 * random.standard_normal((batch, size))).astype(np.float32)
        history = random.integers(0, size, (batch, 64))
        settings = [
            Sampling(0.75, 50, 0.85, 0.0, 10.0, int(random.integers(1 << 60))) for _ in range(batch)
        ]
        arrays = {
            "logits": logits, "history": history, "history_count": np.full(batch, 63), "stops": np.array([size - 1]),
            "counter": np.arange(batch, dtype=np.uint64), "token": np.zeros(batch, np.int64),
            "input_id": np.zeros(batch, np.int64), "stopped": np.zeros(batch, np.int32), "status": np.full(batch, -1, np.int32),
        }  # fmt: skip
        places = {name: device.put(np.ascontiguousarray(array)) for name, array in arrays.items()}
        params = (CSampling * batch)(*(CSampling.of(s, Follow()) for s in settings))
        step = CStep(**places, vocabulary=size, history_room=64, stop_count=1)
        kernels.sample(
            step, device.put(np.frombuffer(bytes(params), np.uint8)), batch, device.stream
        )
        assert not device.get(places["status"], arrays["status"]).any()
        wanted = [sample_numpy(logits[i], history[i, :63], settings[i], i) for i in range(batch)]
        assert device.get(places["token"], arrays["token"]).tolist() == wanted


def test_every_sequence_goes_one_position_on_where_there_is_room(device: Device) -> None:
    mask, at = np.full((4, 32), -1, np.float16), np.array([0, 5, 30, 31])
    places = {"write_index": device.put(at), "positions": device.put(at), "mask": device.put(mask)}
    CudaKernels().advance(CPlace(**places, capacity=32, item=2), 4, device.stream)
    wanted = mask.copy()
    wanted[[0, 1, 2], [1, 6, 31]] = 0
    for name in ("write_index", "positions"):
        assert device.get(places[name], at).tolist() == [1, 6, 31, 31]
    np.testing.assert_array_equal(device.get(places["mask"], mask), wanted)


def test_pcm_is_rounded_as_on_the_cpu(device: Device) -> None:
    samples = np.random.default_rng(1).standard_normal(5000).astype(np.float32)
    out = np.zeros(5000, np.int16)
    target = device.put(out)
    CudaKernels().pcm16(device.put(samples), device.put(samples), target, 5000, 0, device.stream)
    np.testing.assert_array_equal(
        device.get(target, out), np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)
    )


def test_a_captured_copy_is_replayed(device: Device) -> None:
    source, target = device.put(np.arange(10.0)), device.put(np.zeros(10))
    device.cuda.begin_capture(device.stream)
    device.cuda.copy(target, source, 80, device.stream)
    graph = device.cuda.end_capture(device.stream)
    assert not device.get(target, np.zeros(10)).any()
    device.cuda.replay(graph, device.stream)
    assert device.get(target, np.zeros(10)).tolist() == list(range(10))
    device.cuda.free_graph(graph)
    assert ctypes.sizeof(CStep) == 12 * 8
