"""`voxturn bench decode`: the token engine by itself. The share of the memory bandwidth is measured
between steps.

The graph with another precision's weights can be named by `--precision`; accuracy is what the
export recorded.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from voxturn.bench.harness import Result, engine_here, peak_rss_mb, read_bandwidth, timed_ms
from voxturn.runtime.decode.sampler import Sampling, sample
from voxturn.runtime.families.decoder import CONTEXT, SLOTS
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import Store
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.profile import Profile, load_profile
from voxturn.runtime.protocols import Outputs

_ROUNDS, _STEPS, _CONTEXT = 8, 40, 60
_PREFILLS = (16, 64, 256)


def run(profile_name: str, precision: str, path: Path | None) -> Result:
    """Rounds of steps at context 60 and more, prefills, the sampler; bandwidth is measured between
    the rounds."""
    profile = load_profile(profile_name)
    if precision:
        profile = replace(profile, reply=replace(profile.reply, precision=precision))
    result = Result("decode")
    parts = LoadedParts(profile)
    try:
        stage = parts.stage("reply")  # no tokenizer: the token engine by itself
        tokens = stage.tokens(
            "token_decoder", stage.option("slots", SLOTS), stage.option("context", CONTEXT)
        )
        graph = engine_here(tokens).executor
        loaded = parts.choice("reply")
        ids = np.random.default_rng(0).integers(10, graph.vocabulary - 10, 512).tolist()

        def run(new: list[int], past: int) -> Outputs:
            return graph.run(0, np.array([new], np.int64), [past])

        steps, bandwidth, shares = [], [], []
        weights = sum(
            (loaded.folder / name).stat().st_size
            for name in loaded.manifest.files
            if name.endswith(".data")
        )
        embedding = 2 * graph.vocabulary * int(loaded.manifest.properties["width"])
        rotary = (
            4
            * int(loaded.manifest.properties["context"])
            * int(loaded.manifest.properties["head_dim"])
        )
        read = weights - embedding - rotary
        run(ids[:_CONTEXT], 0)
        for number in range(_ROUNDS + 1):
            times = [timed_ms(partial(run, [ids[i]], _CONTEXT + i)) for i in range(_STEPS)]
            if number:
                rate = read_bandwidth(2, megabytes=128, rounds=2)
                steps += times
                bandwidth.append(rate)
                shares.append(read / 1e9 / (np.median(times) / 1000) / rate)
        result.samples("decode.step_ms", "ms", steps)
        result.samples("decode.bandwidth_gb_s", "GB/s", bandwidth)
        result.samples("decode.bandwidth_share", "ratio", shares)
        for length in _PREFILLS:
            prefill = partial(run, ids[:length], 0)
            result.samples(
                f"decode.prefill_{length}_ms", "ms", [timed_ms(prefill) for _ in range(6)][1:]
            )
        logits = run([5], _CONTEXT).logits[0].copy()
        warm = Sampling(temperature=0.7, top_k=50, top_p=0.9, repetition_penalty=1.1)
        drawn = [timed_ms(partial(sample, logits, ids, warm, i)) for i in range(60)]
        result.samples("decode.sample_ms", "ms", drawn[10:])
        result.value("decode.bytes_read_per_step", "bytes", read)
        result.value("decode.peak_rss_mb", "MB", peak_rss_mb())
        for name, value in loaded.manifest.reached.items():
            result.value(f"decode.{name}", "nats" if name.startswith("kl") else "ratio", value)
        result.artifact("reply", parts.info["reply"])
        _other_precisions(result, profile)
    finally:
        parts.close()
    if path:
        result.write(path)
    return result


def _other_precisions(result: Result, profile: Profile) -> None:
    """What the exports of the same model's other precisions reached, where they are here."""
    registry, store = Registry.read(), Store()
    model, _ = registry.resolve(profile.reply.model)
    for precision in model.precisions:
        if store.installed(model, precision):
            folder, manifest = store.artifact(model, precision)
            size = sum((folder / name).stat().st_size for name in manifest.files)
            result.notes[precision] = {
                "reached": dict(manifest.reached),
                "megabytes": round(size / 1e6, 1),
            }
