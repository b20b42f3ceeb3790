"""The waterfall of a turn: what each stage did when, from the end of speech to the end of the
answer."""

from __future__ import annotations

import io
from typing import Any

from voxturn.runtime.errors import ExecutorUnavailable

_COLORS = {
    "listen": "#8c8c8c",
    "end_of_turn": "#937860",
    "transcribe": "#4c72b0",
    "reply": "#dd8452",
    "speak": "#55a868",
    "vocode": "#c44e52",
}
_MARKS = {
    "speech_end": "end of speech",
    "endpoint": "end is certain",
    "transcript": "transcript",
    "first_token": "first token",
    "first_clause": "first clause",
    "audible_onset": "audible onset",
}


def waterfall(trace: dict[str, Any]) -> bytes:
    """A PNG of a trace (`Trace.to_dict()`)."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as exc:
        raise ExecutorUnavailable(
            "the picture needs matplotlib; pip install 'voxturn[embedded]'"
        ) from exc
    stages = [name for name in _COLORS if name in trace["stages"]]
    figure = Figure(figsize=(11, 4.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    times = trace["times_ms"]
    left = min(-150.0, *(times.values() or [0.0]))
    for row, name in enumerate(stages):
        spans = [
            (max(b, left), e - max(b, left))
            for b, e in trace["stages"][name]["spans_ms"]
            if e > left
        ]
        axes.broken_barh(spans, (row - 0.36, 0.72), color=_COLORS[name])
    rows = len(stages)
    if "audible_onset" in times:
        axes.broken_barh(
            [(times["audible_onset"], trace["audio_ms"])], (rows - 0.36, 0.72), color="#937860"
        )
    axes.set_yticks(
        range(rows + 1),
        [*(f"{n}\n{trace['stages'][n].get('model', '')}" for n in stages), "loudspeaker"],
    )
    axes.invert_yaxis()
    ends = [e for name in stages for _, e in trace["stages"][name]["spans_ms"]]
    heard = (
        times["audible_onset"] + min(trace["audio_ms"], 500.0) if "audible_onset" in times else 0.0
    )
    right = max([*ends, *times.values(), heard, 100.0]) * 1.04
    axes.set_xlim(left, right)
    shown = sorted((times[key], label) for key, label in _MARKS.items() if key in times)
    for i, (when, label) in enumerate(shown):
        axes.axvline(when, color="#333333", linewidth=0.8, linestyle=":")
        height = -0.62 - 0.27 * (len(shown) - 1 - i)
        far = when > left + 0.8 * (
            right - left
        )  # written to the left of its line, or it would leave the picture
        axes.text(
            when,
            height,
            f" {label} {when:.0f} ms ",
            fontsize=8,
            ha="right" if far else "left",
            va="bottom",
        )
    axes.set_xlabel("milliseconds from the end of speech")
    axes.grid(axis="x", alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    response = trace.get("response_ms")
    title = f"“{trace['transcript']}” → “{trace['reply']}”"
    title = title if len(title) <= 110 else title[:109] + "…"
    subtitle = (
        f"end is certain → audible onset {response:.0f} ms" if response is not None else "no answer"
    )
    figure.suptitle(f"{title}\n{subtitle}, {trace['underruns']} underruns", fontsize=10)
    out = io.BytesIO()
    figure.savefig(out, format="png")
    return out.getvalue()
