"""How wide a window XTTS's vocoder needs, measured; and whether its streamed audio equals the full
decode's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from voxturn.export.artifact import contract_of
from voxturn.export.checkpoint import Float
from voxturn.export.xtts.checkpoint import XttsArgs
from voxturn.export.xtts.graphs import margin_needed
from voxturn.runtime.audio.window import Plan, schedule, with_margin
from voxturn.runtime.errors import ExportFailed
from voxturn.runtime.executors.onnx import OnnxGraph
from voxturn.runtime.families.xtts.frames import XttsFrames
from voxturn.runtime.flow.scheduling import Cores

_PROBE_LATENTS = 40


def measure(path: Path, args: XttsArgs) -> tuple[int, float]:
    """The margin in frames on either side of a window, and the SNR in dB of a windowed decode of
    random latents."""
    graph = OnnxGraph(path, contract_of(path), Cores().budget("vocode", 0))
    frames = XttsFrames(
        args.gpt_code_stride_len // args.output_hop_length,
        args.output_sample_rate / args.input_sample_rate,
    )
    random = np.random.default_rng(0)
    latents = random.standard_normal((_PROBE_LATENTS, args.decoder_input_dim), np.float32)
    speaker = random.standard_normal((1, args.d_vector_dim, 1), np.float32) * np.float32(0.04)
    total, hop = frames.count(_PROBE_LATENTS), args.output_hop_length

    def decode(values: Float, begin: int, end: int, margin: int = 0) -> Float:
        low, high, before = with_margin(begin, end, total, margin)
        inputs = frames.inputs(values, low, high, before, high - end) | {"speaker": speaker}
        return np.asarray(graph.run(inputs)["audio"]).reshape(-1)

    try:
        margin = margin_needed()
        reach = _reach(decode, frames, latents, hop)
        if reach > margin:
            raise ExportFailed(
                f"the vocoder reaches {reach} frames, its layers say {margin}; is it the vocoder of an XTTS?"
            )
        full = decode(latents, 0, total).astype(np.float64)
        error = (
            np.concatenate(
                [decode(latents, *window, margin) for window in schedule(total, Plan(8))]
            )
            - full
        )
    finally:
        graph.close()
    return margin, float(10 * np.log10((full**2).sum() / max((error**2).sum(), 1e-30)))


def _reach(decode: Callable[..., Float], frames: XttsFrames, latents: Float, hop: int) -> int:
    """How many frames around a changed one its audio reaches, beyond the frames that interpolation
    changes."""
    changed = latents.copy()
    middle = _PROBE_LATENTS // 2
    changed[middle] += 1.0
    total = frames.count(_PROBE_LATENTS)
    before, after = decode(latents, 0, total), decode(changed, 0, total)
    touched = np.flatnonzero(before != after) // hop
    if not touched.size or touched[0] == 0 or touched[-1] == total - 1:
        raise ExportFailed(
            "the vocoder's receptive field is wider than the probe, or empty; is it the vocoder of an XTTS?"
        )
    middle_frames = [
        f for f in range(total) if frames.span(f, f + 1)[0] <= middle < frames.span(f, f + 1)[1]
    ]
    return int(max(middle_frames[0] - touched[0], touched[-1] - middle_frames[-1]))
