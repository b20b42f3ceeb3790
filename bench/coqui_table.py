"""The table of Coqui's families for the docs, of the committed result file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from voxturn.bench.harness import load_result

RESULT = "coqui-families.json"
_SOONER = 5.0
_FAST_VOCODERS = ("hifigan_v2", "multiband_melgan")
_MOST_MS = {"vits": 120, "glow_tts": 80, "fast_pitch": 80, "speedy_speech": 80}
"""First audio that is aimed at: of a VITS; of fast voices with a fast vocoder."""


def table(results: Path) -> str:
    """The table's Markdown. What misses its aim is marked."""
    file = load_result(results / RESULT)
    environment, notes = file["environment"], file["notes"]
    libraries = environment["libraries"]
    lines = [
        f"Measured on {environment['cpu']}, {environment['cores']} cores, against coqui-tts "
        f"{libraries['coqui-tts']} (torch {libraries['torch']}) in the same process; full size, random "
        "weights, fp32, 12 words. Medians; * misses what is aimed at: first audio five times sooner, "
        "at no higher cost, and within 120 ms (VITS) or 80 ms (fast mels, fast vocoder).",
        "",
        "| voice | first audio | coqui-tts | sooner | s for a second | coqui-tts | cheaper | audio |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *(_line(row, file["metrics"]) for row in notes["rows"])])


def _line(row: tuple[str, str], metrics: Mapping[str, Any]) -> str:
    voice, vocoder = row
    name = f"{voice}+{vocoder}" if vocoder else voice

    def p50(metric: str) -> float:
        return float(metrics[f"coqui.{name}.{metric}"]["p50"])

    aimed_ms = _MOST_MS.get(voice) if not vocoder or vocoder in _FAST_VOCODERS else None
    first, sooner, cheaper = p50("first_audio_ms"), p50("first_audio_ratio"), p50("rtf_ratio")
    late = aimed_ms is not None and first > aimed_ms
    cells = [
        f"{voice} + {vocoder}" if vocoder else voice,
        f"{first:.0f} ms{_mark(late)}",
        f"{p50('peer.first_audio_ms'):.0f} ms",
        f"{sooner:.1f} ×{_mark(sooner < _SOONER)}",
        f"{p50('rtf'):.3f}",
        f"{p50('peer.rtf'):.3f}",
        f"{cheaper:.2f} ×{_mark(cheaper < 1)}",
        f"{p50('audio_s'):.1f} / {p50('peer.audio_s'):.1f} s",
    ]
    return f"| {' | '.join(cells)} |"


def _mark(missed: bool) -> str:
    return " *" if missed else ""
