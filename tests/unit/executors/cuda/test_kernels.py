"""The CUDA kernels' own source on the CPU: against the numpy twin, under sanitizers, and compiled
for every GPU."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voxturn.runtime.audio.encode import to_int16
from voxturn.runtime.decode.generation import Follow
from voxturn.runtime.decode.sampler import Sampling, sample_numpy
from voxturn.runtime.errors import ExecutorUnavailable
from voxturn.runtime.executors.cuda.kernels import STATUSES, CPlace, CSampling, CStep, CudaKernels

from tests.shim import NATIVE, compiled

pytestmark = pytest.mark.slow

ARCHITECTURES = ("80", "86", "89", "90", "100", "120")
REGISTERS, SHARED_BYTES = 80, 48 << 10
"""What a kernel may use at most: a block of 512 threads then fits a multiprocessor of every
architecture."""

DONE, NAN, NOT_FINITE, BAD_HISTORY, UNSUPPORTED = range(5)


@dataclass
class Batch:
    """What the kernel reads and writes for some sequences."""

    logits: np.ndarray[Any, Any]
    histories: list[list[int]]
    samplings: list[Sampling]
    counters: list[int]
    stops: list[int] = field(default_factory=list)
    follow: tuple[int, int] = (0, 0)
    room: int = 0

    def __post_init__(self) -> None:
        count, size = self.logits.shape
        self.room = self.room or max(map(len, self.histories)) + 1
        self.history = np.full((count, self.room), -7, np.int64)
        for row, ids in enumerate(self.histories):
            self.history[row, : len(ids)] = ids
        self.arrays = {
            "logits": np.ascontiguousarray(self.logits, np.float32),
            "history": self.history,
            "history_count": np.array([len(ids) for ids in self.histories], np.int64),
            "counter": np.array(self.counters, np.uint64),
            "stops": np.array([*self.stops, 0], np.int64),
            "token": np.full(count, -1, np.int64),
            "input_id": np.full(count, -1, np.int64),
            "stopped": np.full(count, -1, np.int32),
            "status": np.full(count, -1, np.int32),
        }
        pointers = {name: array.ctypes.data for name, array in self.arrays.items()}
        self.step = CStep(
            **pointers, vocabulary=size, history_room=self.room, stop_count=len(self.stops)
        )
        settings = [CSampling.of(sampling, Follow(*self.follow)) for sampling in self.samplings]
        self.params = (CSampling * count)(*settings)

    def run(self, kernels: CudaKernels, threads: int = 8) -> dict[str, np.ndarray[Any, Any]]:
        kernels.sample(self.step, ctypes.addressof(self.params), len(self.logits), threads)
        return self.arrays


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> CudaKernels:
    return compiled(tmp_path_factory.mktemp("shim"))


def random_batches(total: int, size: int = 50) -> Iterator[Batch]:
    """Random cases of every kind: ties, penalties, extremes of top-p and min-p, greedy, long and
    empty histories."""
    random = np.random.default_rng(0)
    for _ in range(total // size):
        vocabulary = int(random.integers(1, 300))
        logits = random.standard_normal((size, vocabulary)) * random.choice(
            [0.1, 3.0, 30.0], (size, 1)
        )
        if random.random() < 0.5:
            logits = np.round(logits)  # ties
        if random.random() < 0.2:
            logits[:, :: max(2, vocabulary // 3)] = -np.inf
            logits[:, -1] = 1.0
        histories = [
            random.integers(0, vocabulary, random.integers(0, 40)).tolist() for _ in range(size)
        ]
        samplings = [
            Sampling(
                float(random.choice([0.0, 0.3, 0.75, 1.0, 4.0])),
                int(random.integers(1, min(vocabulary, 40) + 3)),
                float(random.choice([0.01, 0.5, 0.85, 1.0])),
                float(random.choice([0.0, 0.0, 0.05, 1.0])),
                float(random.choice([1.0, 1.3, 10.0])),
                int(random.integers(0, 1 << 63)),
            )
            for _ in range(size)
        ]
        counters = random.integers(0, 1 << 40, size).tolist()
        yield Batch(logits.astype(np.float32), histories, samplings, counters)


def test_ten_thousand_random_cases_give_the_tokens_of_the_numpy_twin(shim: CudaKernels) -> None:
    cases = 0
    for batch in random_batches(10_000):
        found = batch.run(shim)
        assert found["status"].tolist() == [DONE] * len(batch.logits)
        wanted = [
            sample_numpy(logits, np.array(ids, np.int64), s, counter)
            for logits, ids, s, counter in zip(
                batch.arrays["logits"],
                batch.histories,
                batch.samplings,
                batch.counters,
                strict=True,
            )
        ]
        assert found["token"].tolist() == wanted
        cases += len(wanted)
    assert cases == 10_000


@pytest.mark.parametrize(
    "kind", ["random", "sorted", "ties", "one thread's", "great ones equal", "zeros of both signs"]
)
@pytest.mark.parametrize("threads", [8, 64])
def test_large_vocabularies_are_pruned_without_losing_a_candidate(
    shim: CudaKernels, kind: str, threads: int
) -> None:
    random, count, size = np.random.default_rng(5), 6, 6000
    logits = random.standard_normal((count, size)) * 3
    if kind == "sorted":
        logits.sort(axis=1)
    elif kind == "ties":
        logits = np.round(logits)
    elif kind == "one thread's":
        logits[:, ::threads] += 50
    elif kind == "great ones equal":
        logits[:, 100:3000] = 20
    elif kind == "zeros of both signs":
        logits = np.where(logits > 0, 0.0, -0.0)
    histories = [random.integers(0, size, 500).tolist() for _ in range(count)]
    sampled = [
        Sampling(0.9, k, 0.99, 0.0, 1.0 if n % 2 else 3.7, n)
        for n, k in enumerate((1, 5, 50, 50, 300, 1024))
    ]
    batch = Batch(logits.astype(np.float32), histories, sampled, list(range(count)))
    found = batch.run(shim, threads)
    assert found["status"].tolist() == [DONE] * count
    logits32 = batch.arrays["logits"]
    wanted = [
        sample_numpy(logits32[n], np.array(histories[n]), sampled[n], n) for n in range(count)
    ]
    assert found["token"].tolist() == wanted


@pytest.mark.parametrize("threads", [1, 32, 96, 512])
def test_the_number_of_threads_does_not_matter(shim: CudaKernels, threads: int) -> None:
    one, other = next(random_batches(50)), next(random_batches(50))
    assert one.run(shim, 32)["token"].tolist() == other.run(shim, threads)["token"].tolist()


def test_the_token_stays_on_the_device_for_the_next_step(shim: CudaKernels) -> None:
    logits = np.zeros((2, 10), np.float32)
    logits[:, 4] = 5.0
    batch = Batch(logits, [[1, 2], []], [Sampling()] * 2, [3, 0], [9], (1000, 100), room=5)
    found = batch.run(shim)
    assert found["input_id"].tolist() == [1000 + 400 + 4, 1000 + 100 + 4]
    assert found["counter"].tolist() == [4, 1]
    assert batch.history[:, :3].tolist() == [[1, 2, 4], [4, -7, -7]]
    assert found["history_count"].tolist() == [3, 1]
    assert found["stopped"].tolist() == [0, 0]
    again = batch.run(shim)  # goes on from what it left
    assert again["counter"].tolist() == [5, 2]
    assert batch.history[0].tolist() == [1, 2, 4, 4, -7]


@pytest.mark.parametrize(("kind", "rotary"), [(np.float16, True), (np.float32, False)])
def test_every_sequence_goes_one_position_on_and_sees_it(
    shim: CudaKernels, kind: type, rotary: bool
) -> None:
    capacity, pasts = 9, [0, 7, 8, 3]
    write, positions = np.array(pasts, np.int64), np.array(pasts, np.int64)
    mask = np.where(np.arange(capacity) <= write[:, None], 0, -30000).astype(kind)
    place = CPlace(
        write.ctypes.data,
        positions.ctypes.data if rotary else 0,
        mask.ctypes.data,
        capacity,
        mask.itemsize,
    )
    shim.advance(place, len(pasts), 3)
    assert write.tolist() == [1, 8, 8, 4]  # a full one stays
    assert positions.tolist() == ([1, 8, 8, 4] if rotary else pasts)
    np.testing.assert_array_equal(
        mask, np.where(np.arange(capacity) <= write[:, None], 0, -30000).astype(kind)
    )


def test_a_stop_is_flagged_and_not_remembered(shim: CudaKernels) -> None:
    logits = np.zeros((1, 10), np.float32)
    logits[:, 7] = 5.0
    batch = Batch(logits, [[1]], [Sampling()], [0], [3, 7], room=4)
    found = batch.run(shim)
    assert (found["token"][0], found["stopped"][0], found["history_count"][0]) == (7, 1, 1)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"logits": np.array([[0, np.nan, 1]], np.float32)}, NAN),
        ({"logits": np.full((1, 3), -np.inf, np.float32)}, NOT_FINITE),
        ({"logits": np.array([[0, np.inf, 1]], np.float32)}, NOT_FINITE),
        ({"histories": [[3]]}, BAD_HISTORY),
        ({"histories": [[-1]]}, BAD_HISTORY),
        ({"samplings": [Sampling(0.5, 0)]}, UNSUPPORTED),  # without top-k the host samples
        ({"logits": np.zeros((1, 163_841), np.float32)}, UNSUPPORTED),
        ({"histories": [[1, 1]], "room": 2}, UNSUPPORTED),  # no room for the token
    ],
)
def test_what_it_cannot_do_is_a_status_and_touches_nothing(
    shim: CudaKernels, change: dict[str, Any], status: int
) -> None:
    given: dict[str, Any] = {
        "logits": np.zeros((1, 3), np.float32), "histories": [[1]], "samplings": [Sampling(0.5, 2, 1.0, 0.0, 2.0)],
        "counters": [0],
    }  # fmt: skip
    batch = Batch(**given | change)
    found = batch.run(shim)
    assert found["status"].tolist() == [status]
    assert STATUSES[status] != "done"
    assert (found["token"][0], found["counter"][0], found["history_count"][0]) == (
        -1,
        0,
        len(batch.histories[0]),
    )


def test_a_chunk_becomes_sixteen_bits_with_its_beginning_faded_in(shim: CudaKernels) -> None:
    random = np.random.default_rng(1)
    for size, fade in ((1, 0), (1000, 0), (1000, 240), (7, 7)):
        samples = (random.standard_normal(size) * 0.7).astype(np.float32)
        before = (random.standard_normal(fade + 1) * 0.7).astype(np.float32)
        out = np.zeros(size, np.int16)
        shim.pcm16(samples.ctypes.data, before.ctypes.data, out.ctypes.data, size, fade, 32)
        share = ((np.arange(fade) + 0.5) / max(1, fade)).astype(np.float32)
        mixed = samples.copy()
        mixed[:fade] = before[:fade] * (1 - share) + samples[:fade] * share
        wanted = np.frombuffer(to_int16(mixed), "<i2")
        assert np.abs(wanted.astype(int) - out).max() <= (
            1 if fade else 0
        )  # a fade may round at the edge of a step


def test_without_the_library_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(ExecutorUnavailable, match="where nvcc is on the path"):
        CudaKernels(tmp_path / "none.so")


MAIN = """
#include "cpushim.h"
#include "KERNELS"
#include <cstdio>
int main() {
    constexpr int kSize = 300, kBatch = 3, kRoom = 40;
    std::vector<float> logits(kSize * kBatch);
    for (int i = 0; i < kSize * kBatch; ++i) logits[size_t(i)] = float((i * 7919) % 101) / 10.f;
    std::vector<int64_t> history(kRoom * kBatch), counts(kBatch, 30), stops(1, 5), token(kBatch), input(kBatch);
    for (size_t i = 0; i < history.size(); ++i) history[i] = int64_t(i * 31) % kSize;
    std::vector<uint64_t> counter(kBatch, 1);
    std::vector<int32_t> stopped(kBatch), status(kBatch, -1);
    voxturn::Step step{logits.data(), history.data(), counts.data(), counter.data(), stops.data(), token.data(),
                       input.data(), stopped.data(), status.data(), kSize, kRoom, 1};
    std::vector<voxturn::Sampling> samplings(kBatch, voxturn::Sampling{0.75, 0.85, 0.0, 10.0, 12, 0, 0, 7});
    for (int round = 0; round < 3; ++round)
        launch(kBatch, 64, [&] { voxturn::sample(step, samplings.data()); });
    std::vector<float> equal(3000, 1.f);  // too many for what is left after pruning
    std::vector<int64_t> none(2), no(1, 0);
    std::vector<uint64_t> first(1, 0);
    voxturn::Step ties{equal.data(), none.data(), no.data(), first.data(), stops.data(), token.data(),
                       input.data(), stopped.data(), status.data(), 3000, 2, 1};
    launch(1, 64, [&] { voxturn::sample(ties, samplings.data()); });
    std::vector<float> samples(500, 0.3f), before(50, -0.2f);
    std::vector<int16_t> out(500);
    launch(2, 64, [&] { voxturn::pcm16(samples.data(), before.data(), out.data(), 500, 50); });
    std::vector<int64_t> write(kBatch, 3);
    std::vector<unsigned char> mask(kBatch * 8 * 2, 0xFF);
    voxturn::Place place{write.data(), nullptr, mask.data(), 8, 2};
    for (int round = 0; round < 6; ++round)
        launch(1, 64, [&] { voxturn::advance(place, kBatch); });
    for (int32_t each : status)
        if (each != 0) return 3;
    return 0;
}
"""


def sanitized(folder: Path, kind: str, source: str) -> subprocess.CompletedProcess[str]:
    """The kernels with a thread for every CUDA thread, under a sanitizer."""
    (folder / "kernels.cuh").write_text(source)
    (folder / "main.cpp").write_text(MAIN.replace("KERNELS", "kernels.cuh"))
    command = [
        "c++",
        "-std=c++20",
        "-O1",
        "-g",
        f"-fsanitize={kind}",
        "-DVOXTURN_SHIM_THREADS",
        f"-I{NATIVE}",
    ]
    subprocess.run(
        [*command, f"-I{folder}", str(folder / "main.cpp"), "-o", str(folder / "main")], check=True
    )
    # a fixed layout of addresses: ThreadSanitizer of older compilers does not start with a random
    # one of newer kernels
    return subprocess.run(
        ["setarch", "-R", str(folder / "main")], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("kind", ["thread", "address,undefined"])
def test_sanitizers_find_nothing(kind: str, tmp_path: Path) -> None:
    done = sanitized(tmp_path, kind, (NATIVE / "kernels.cuh").read_text())
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("number", range(9))
def test_a_barrier_less_is_found(number: int, tmp_path: Path) -> None:
    source = (NATIVE / "kernels.cuh").read_text()
    barriers = [match.span() for match in re.finditer(r"__syncthreads\(\);", source)]
    assert len(barriers) == 9
    begin, end = barriers[number]
    done = sanitized(tmp_path, "thread", source[:begin] + source[end:])
    assert done.returncode != 0
    assert "ThreadSanitizer: data race" in done.stderr


@pytest.mark.skipif(
    shutil.which("nvcc") is None, reason="there is no nvcc: the kernels are not compiled"
)
def test_every_architecture_compiles_within_its_budget(tmp_path: Path) -> None:
    for architecture in ARCHITECTURES:
        command = [
            "nvcc",
            "-std=c++17",
            f"-arch=sm_{architecture}",
            "--fmad=false",
            "-Xptxas",
            "-v",
            "-cubin",
        ]
        done = subprocess.run(
            [*command, "-o", str(tmp_path / "out.cubin"), str(NATIVE / "kernels.cu")],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        registers = [int(n) for n in re.findall(r"Used (\d+) registers", done.stderr)]
        shared = [int(n) for n in re.findall(r"(\d+) bytes smem", done.stderr)]
        spilled = [int(n) for n in re.findall(r"(\d+) bytes spill stores", done.stderr)]
        assert len(registers) == 3
        assert max(registers) <= REGISTERS
        assert max(shared) <= SHARED_BYTES
        assert not any(spilled)
