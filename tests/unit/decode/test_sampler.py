"""The sampler: its random numbers, the native one against the numpy twin, and both against
transformers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
import voxturn.runtime._native as native
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from voxturn.runtime.decode import sampler
from voxturn.runtime.decode.sampler import Sampling, philox4x32, sample, sample_numpy, uniform
from voxturn.runtime.errors import InferenceFailed, UsageError

Logits = npt.NDArray[np.float32]
_ALL = 0xFFFFFFFF


def native_sample(logits: Logits, history: npt.NDArray[np.int64], s: Sampling, counter: int) -> int:
    token: int = native.sample(
        logits,
        history,
        s.temperature,
        s.top_k,
        s.top_p,
        s.min_p,
        s.repetition_penalty,
        s.seed,
        counter,
    )
    return token


def outcome(
    call: Any, logits: Logits, history: npt.NDArray[np.int64], s: Sampling, counter: int
) -> int | str:
    try:
        token: int = call(logits, history, s, counter)
    except ValueError as exc:
        return str(exc)
    return token


def assert_twins(
    logits: Logits, history: npt.NDArray[np.int64], s: Sampling, counter: int
) -> int | str:
    theirs, ours = (
        outcome(native_sample, logits, history, s, counter),
        outcome(sample_numpy, logits, history, s, counter),
    )
    assert theirs == ours, (logits.tolist(), history.tolist(), s, counter)
    return ours


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((_ALL, _ALL, _ALL, _ALL), (_ALL, _ALL), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_known_answers_of_random123(
    counter: tuple[int, int, int, int], key: tuple[int, int], expected: tuple[int, int, int, int]
) -> None:
    assert philox4x32(counter, key) == expected


def test_a_uniform_is_made_of_the_first_two_words() -> None:
    bits = (0x6627E8D5 >> 5) * 2**26 + (0xE169C58D >> 6)
    assert uniform(0, 0) == bits / 2**53
    assert native.uniform(0, 0) == bits / 2**53


@given(seed=st.integers(0, 2**64 - 1), counter=st.integers(0, 2**64 - 1))
@example(seed=2**64 - 1, counter=2**64 - 1)
def test_native_and_numpy_draw_the_same_uniforms_below_one(seed: int, counter: int) -> None:
    value = uniform(seed, counter)
    assert native.uniform(seed, counter) == value
    assert 0 <= value < 1


def test_a_seed_s_stream_is_uniform() -> None:
    draws = np.array([native.uniform(5, i) for i in range(20_000)])
    counts, _ = np.histogram(draws, 20, (0.0, 1.0))
    assert (
        (counts - 1000) ** 2 / 1000
    ).sum() < 43.8  # chi-square, 19 degrees of freedom, p = 0.001
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.03


def test_the_native_sampler_is_the_one_in_use() -> None:
    assert sampler.BACKEND == "native"


def random_case(random: np.random.Generator) -> tuple[Logits, npt.NDArray[np.int64], Sampling, int]:
    size = int(random.integers(1, 2001)) if random.random() < 0.3 else int(random.integers(1, 60))
    logits = (random.standard_normal(size) * random.choice([0.1, 2.0, 30.0])).astype(np.float32)
    if random.random() < 0.3:
        logits = np.rint(logits)  # many ties
    if random.random() < 0.3:
        logits[random.random(size) < random.choice([0.1, 0.9])] = -np.inf
    history = random.integers(0, size, int(random.integers(0, 40)))
    settings_ = Sampling(
        temperature=float(random.choice([0.0, 1e-3, 0.3, 0.7, 1.0, 2.5, 100.0])),
        top_k=int(random.choice([0, 1, 2, 5, 50, 5000])),
        top_p=float(random.choice([1.0, 0.95, 0.5, 1e-6])),
        min_p=float(random.choice([0.0, 0.05, 0.5, 1.0])),
        repetition_penalty=float(random.choice([1.0, 1.1, 2.0, 0.5])),
        seed=int(random.integers(0, 2**63)),
    )
    return logits, history, settings_, int(random.integers(0, 2**40))


@pytest.mark.slow
def test_native_and_numpy_agree_on_ten_thousand_random_cases() -> None:
    random = np.random.default_rng(20240613)
    results = [assert_twins(*random_case(random)) for _ in range(10_000)]
    tokens = [r for r in results if isinstance(r, int)]
    assert len(tokens) > 8_000
    assert set(results) - set(tokens) == {"no logit is finite"}


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
logit = st.one_of(
    st.integers(-3, 3).map(float), st.floats(-50, 50, width=32), st.just(-math.inf), finite
)


@pytest.mark.slow
@given(
    logits=st.lists(logit, min_size=1, max_size=80),
    history=st.lists(st.integers(0, 79), max_size=100),
    temperature=st.one_of(st.sampled_from([0.0, 1.0, 5e-324, 1e-310, 1e300]), st.floats(0.01, 10)),
    top_k=st.one_of(st.integers(0, 90), st.just(2**70)),
    top_p=st.one_of(st.just(1.0), st.floats(0, 1, exclude_min=True)),
    min_p=st.floats(0, 1),
    penalty=st.one_of(st.just(1.0), st.sampled_from([1e-300, 1e300]), st.floats(0.1, 10)),
    seed=st.integers(0, 2**64 - 1),
    counter=st.integers(0, 2**64 - 1),
)
@settings(max_examples=400)
def test_native_and_numpy_agree_at_the_extremes(
    logits: list[float],
    history: list[int],
    temperature: float,
    top_k: int,
    top_p: float,
    min_p: float,
    penalty: float,
    seed: int,
    counter: int,
) -> None:
    values = np.array(logits, np.float32)
    seen = [i % len(logits) for i in history]
    s = Sampling(temperature, top_k, top_p, min_p, penalty, seed)
    try:
        chosen: int | str = sample(values, seen, s, counter)
    except InferenceFailed as exc:
        chosen = str(exc).split("; ")[0].removeprefix("sampler: ")
    expected = outcome(sample_numpy, values, np.array(seen, np.int64), s, counter)
    assert chosen == expected
    assert (
        isinstance(expected, str) or values[expected] > -np.inf
    )  # what has no probability is never chosen


@pytest.mark.parametrize(
    "s",
    [
        Sampling(temperature=0.7, seed=1),
        Sampling(temperature=1.0, top_k=5, seed=2),
        Sampling(temperature=1.3, top_p=0.8, seed=3),
        Sampling(temperature=0.9, min_p=0.1, seed=4),
        Sampling(temperature=0.8, top_k=12, top_p=0.9, min_p=0.02, repetition_penalty=1.3, seed=5),
    ],
)
def test_the_distribution_is_that_of_transformers(s: Sampling) -> None:
    logits = np.random.default_rng(7).standard_normal(20).astype(np.float32) * 2
    history = [0, 3, 3, 7, 11, 19]
    chain: list[Any] = [TemperatureLogitsWarper(s.temperature)]
    if s.repetition_penalty != 1.0:
        chain.insert(0, RepetitionPenaltyLogitsProcessor(s.repetition_penalty))
    if s.top_k:
        chain.append(TopKLogitsWarper(s.top_k))
    if s.top_p < 1:
        chain.append(TopPLogitsWarper(s.top_p))
    if s.min_p:
        chain.append(MinPLogitsWarper(s.min_p))
    scores = LogitsProcessorList(chain)(
        torch.tensor([history]), torch.from_numpy(logits)[None].clone()
    )
    expected = torch.softmax(scores[0].double(), -1).numpy()

    draws = 20_000
    counts = np.bincount([sample(logits, history, s, i) for i in range(draws)], minlength=20)
    assert not counts[expected == 0].any()
    kept = expected > 0
    common = kept & (expected * draws >= 5)
    seen = np.append(counts[common], counts[kept & ~common].sum())
    wanted = np.append(expected[common], expected[kept & ~common].sum()) * draws
    seen, wanted = seen[wanted > 0], wanted[wanted > 0]
    freedom = len(seen) - 1
    limit = (
        freedom * (1 - 2 / (9 * freedom) + 3.09 * math.sqrt(2 / (9 * freedom))) ** 3
    )  # Wilson-Hilferty, p = 0.001
    assert ((seen - wanted) ** 2 / wanted).sum() < limit


def test_the_greedy_choice_after_a_penalty_is_that_of_transformers() -> None:
    random = np.random.default_rng(8)
    for _ in range(100):
        logits = random.standard_normal(30).astype(np.float32)
        history = random.integers(0, 30, 20).tolist()
        processor = RepetitionPenaltyLogitsProcessor(1.5)
        scores = processor(torch.tensor([history]), torch.from_numpy(logits)[None].clone())
        assert sample(logits, history, Sampling(repetition_penalty=1.5), 0) == int(scores.argmax())


@pytest.mark.parametrize("temperature", [0.0, 5e-324, 0.5])
def test_ties_go_to_the_lower_id(temperature: float) -> None:
    logits = np.array([1, 5, 2, 5, 5], np.float32)
    top_one = Sampling(temperature=temperature, top_k=1)
    assert {sample(logits, [], top_one, i) for i in range(20)} == {1}


def test_tied_logits_share_the_probability_and_min_p_one_keeps_them_all() -> None:
    logits = np.array([1, 5, 2, 5], np.float32)
    assert {sample(logits, [], Sampling(temperature=1.0, min_p=1.0), i) for i in range(60)} == {
        1,
        3,
    }
    assert {sample(logits, [], Sampling(temperature=5e-324), i) for i in range(60)} == {1, 3}


def test_top_p_keeps_at_least_the_first() -> None:
    logits = np.array([0, 1, 0], np.float32)
    assert {sample(logits, [], Sampling(temperature=1.0, top_p=1e-9), i) for i in range(50)} == {1}


def test_a_penalised_id_counts_once_however_often_it_was_said() -> None:
    logits = np.array([4.0, 2.5], np.float32)
    assert sample(logits, [0] * 10, Sampling(repetition_penalty=1.5), 0) == 0
    assert sample(logits, [0], Sampling(repetition_penalty=1.7), 0) == 1


def test_the_same_counter_gives_the_same_token_and_another_seed_other_tokens() -> None:
    logits = np.zeros(1000, np.float32)
    s = Sampling(temperature=1.0, seed=9)
    first = [sample(logits, [], s, i) for i in range(20)]
    assert first == [sample(logits, [], s, i) for i in range(20)]
    assert first != [sample(logits, [], s.with_seed(10), i) for i in range(20)]
    assert s.with_seed(10) == Sampling(temperature=1.0, seed=10)


def test_logits_with_a_stride_are_read_right() -> None:
    logits = np.arange(20, dtype=np.float32)[::-2]
    assert sample(logits, [], Sampling(), 0) == 0
    assert sample(logits[::-1], [], Sampling(), 0) == 9


_BAD: list[tuple[list[float], list[int], str]] = [
    ([0.0, math.nan], [], "NaN"),
    ([-math.inf, -math.inf], [], "no logit is finite"),
    ([0.0, math.inf], [], "no logit is finite"),
    ([], [], "no logit is finite"),
    ([0.0, 1.0], [2], "outside the vocabulary"),
    ([0.0, 1.0], [-1], "outside the vocabulary"),
]


@pytest.mark.parametrize("backend", ["native", "numpy"])
@pytest.mark.parametrize(("logits", "history", "what"), _BAD)
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_unusable_input_is_a_named_error(
    monkeypatch: pytest.MonkeyPatch,
    backend: str,
    logits: list[float],
    history: list[int],
    what: str,
    temperature: float,
) -> None:
    if backend == "numpy":
        monkeypatch.setattr(sampler, "_native", None)  # a machine without the native part
    s = Sampling(temperature=temperature, repetition_penalty=1.2)
    with pytest.raises(InferenceFailed, match=what) as caught:
        sample(np.array(logits, np.float32), history, s, 0)
    assert caught.value.exit_code == 7
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("sampler: ")


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -0.1},
        {"temperature": math.nan},
        {"temperature": math.inf},
        {"top_k": -1},
        {"top_p": 0.0},
        {"top_p": 1.01},
        {"top_p": math.nan},
        {"min_p": -0.01},
        {"min_p": 1.01},
        {"min_p": math.nan},
        {"repetition_penalty": 0.0},
        {"repetition_penalty": -1.0},
        {"repetition_penalty": math.nan},
        {"repetition_penalty": math.inf},
        {"seed": -1},
        {"seed": 2**64},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))) as caught:
        Sampling(**wrong)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
