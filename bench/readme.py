"""Writes the measured tables of README.md and the docs from the committed result files, between
two marks.

`--check` only compares.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from voxturn.bench import coqui_table
from voxturn.bench.harness import load_result
from voxturn.runtime.models.store import write_atomic

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
_TTS = "tts-xtts-int4"
_MARKS = "¹²³⁴"
_ROWS = (
    (
        "turn-demo",
        "turn.response_ms",
        "end of speech is certain → audible answer",
        "{p50:.0f} ms ({p95:.0f})",
    ),
    (
        "turn-demo",
        "turn.onset_ms",
        "last sound of the question → audible answer",
        "{p50:.0f} ms ({p95:.0f})",
    ),
    (
        "turn-demo",
        "turn.endpoint_wait_ms",
        "of which waiting to be certain",
        "{p50:.0f} ms ({p95:.0f})",
    ),
    ("turn-demo", "turn.underruns", "underruns in {runs} turns", "{value:.0f}"),
    (
        "stt-demo",
        "stt.final_ms.2s",
        "last sound of up to 3 s → final transcript",
        "{p50:.0f} ms ({p95:.0f})",
    ),
    ("stt-demo", "stt.final_ms.8s", "the same of 6 to 10 s", "{p50:.0f} ms ({p95:.0f})"),
    (
        "stt-demo",
        "stt.decode.2s_ratio",
        "Whisper on up to 3 s, times faster than faster-whisper's default",
        "{p50:.1f} ×",
    ),
    ("stt-demo", "stt.decode.8s_ratio", "the same on 6 to 10 s", "{p50:.1f} ×"),
    (
        "stt-demo",
        "stt.hallucinations",
        "of 100 sounds without words, those that gave any",
        "{value:.0f}",
    ),
    (
        "stt-demo",
        "stt.short.wer",
        "its word error rate on {clips:.0f} clips (the peer: {peer:.1%})",
        "{value:.1%}",
    ),
    (
        "decode-demo",
        "decode.step_ms",
        "a token of the reply, {precision}",
        "{p50:.1f} ms ({p95:.1f})",
    ),
    (
        "decode-demo",
        "decode.bandwidth_share",
        "its share of the memory bandwidth measured in between",
        "{p50:.0%}",
    ),
    (
        "parity-demo",
        "decode.fp32.token_agreement",
        "tokens equal to transformers' in fp32, 10 prompts × 64",
        "{value:.0%}",
    ),
    (
        "parity-demo",
        "decode.shipped.top1_agreement",
        "the same first choice in {precision}",
        "{value:.1%}",
    ),
    ("llm-qwen3", "llm.step_ms.int4", "Qwen3-0.6B, a token, int4", "{p50:.0f} ms ({p95:.0f})"),
    (
        "llm-qwen3",
        "llm.best_peer.int4_ratio",
        "times faster than llama.cpp at 4 bits",
        "{p50:.1f} ×",
    ),
    (
        "llm-qwen3",
        "llm.best_peer.int8_ratio",
        "times faster than llama.cpp and CTranslate2 at 8 bits",
        "{p50:.1f} ×",
    ),
    (
        "llm-qwen3",
        "llm.ttft_ms.turn10",
        "the tenth turn of a dialogue → first token, int8",
        "{p50:.0f} ms ({p95:.0f})",
    ),
    (
        "turn-cpu",
        "turn.response_ms",
        "Whisper, Qwen3-0.6B and XTTS v2: end of speech is certain → audible answer",
        "{p50:.0f} ms ({p95:.0f})",
    ),
    (
        _TTS,
        "tts.first_audio.12w_ms",
        "XTTS v2, a sentence of 12 words: text → first audio",
        "{p50:.0f} ms ({p95:.0f})",
    ),
    (
        _TTS,
        "tts.first_audio.12w_ratio",
        "how much sooner than coqui-tts's `inference_stream`",
        "{p50:.0f} ×",
    ),
    (
        _TTS,
        "tts.streamed_text.first_audio_ms",
        "the same, its text arriving as it is written",
        "{p50:.0f} ms ({p95:.0f})",
    ),
    (_TTS, "tts.rtf", "its time for a second of audio", "{p50:.2f} s ({p95:.2f})"),
    (_TTS, "tts.rtf_ratio", "how much less than coqui-tts's", "{p50:.1f} ×"),
    (
        _TTS,
        "tts.batch4.join_slowdown",
        "the first audio of a stream that joins three, against a lone one's",
        "{p50:.1f} ×",
    ),
    (
        _TTS,
        "tts.batch4.codes_gain",
        "four streams on one engine, audio codes a second against one",
        "{p50:.1f} ×",
    ),
)


def table(results: Path) -> str:
    """The table's Markdown."""
    files = {
        name: load_result(results / f"{name}.json")
        for name in dict.fromkeys(row[0] for row in _ROWS)
    }
    machines = list(dict.fromkeys(_machine(file["environment"]) for file in files.values()))
    marks = dict(zip(machines, _MARKS if len(machines) > 1 else ("",), strict=False))
    facts: dict[str, Any] = {
        "runs": len(files["turn-demo"]["metrics"]["turn.response_ms"]["samples"]),
        "clips": files["stt-demo"]["metrics"]["stt.clips"]["value"],
        "peer": files["stt-demo"]["metrics"]["stt.peer.wer"]["value"],
        "precision": files["decode-demo"]["artifacts"]["reply"]["precision"],
    }
    lines = [
        f"Measured on {'; '.join(f'{marks[each]}{each}' for each in machines)}. No GPU; p50 (p95).",
        "",
        "| what | measured |",
        "|---|---|",
    ]
    for name, metric, text, form in _ROWS:
        values: Mapping[str, Any] = files[name]["metrics"][metric]
        mark = marks[_machine(files[name]["environment"])]
        lines.append(f"| {text.format(**facts)} | {form.format(**values)}{mark and ' ' + mark} |")
    return "\n".join(lines)


def _machine(environment: Mapping[str, Any]) -> str:
    return f"{environment['cpu']}, {environment['cores']} cores, {environment['memory_gb']} GB"


_PAGES = {"README.md": table, "docs/coqui.md": coqui_table.table}


def main() -> int:
    """Write the tables, or with `--check` say whether they are the ones that stand there."""
    wrong = 0
    for name, make in _PAGES.items():
        text = Path(name).read_text(encoding="utf-8")
        before, rest = text.split(BEGIN)
        after = rest.split(END)[1]
        new = f"{before}{BEGIN}\n{make(Path('bench/results'))}\n{END}{after}"
        if "--check" not in sys.argv:
            write_atomic(Path(name), new.encode())
        elif new != text:
            wrong = 1
            print(
                f"{name}: the measured table is not the one of bench/results; run `make readme`",
                file=sys.stderr,
            )
    return wrong


if __name__ == "__main__":
    sys.exit(main())
