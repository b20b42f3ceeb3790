"""`voxturn bench coqui`: its rows, and what its table says of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from voxturn.bench import coqui, coqui_table
from voxturn.bench.coqui import ROWS, Row, Spoken
from voxturn.bench.harness import Result
from voxturn.export.coqui import mel_synthetic
from voxturn.export.coqui.vits import synthetic
from voxturn.runtime.errors import UsageError


def test_every_voice_and_vocoder_that_can_be_made_is_measured() -> None:
    measured = {name for row in ROWS for name in (row.voice, row.vocoder) if name}
    assert measured == {*synthetic.KINDS, *mel_synthetic.KINDS}


def test_rows_are_chosen_by_name() -> None:
    assert coqui.chosen([]) == list(ROWS)
    assert coqui.chosen(["glow_tts+hifigan_v2"]) == [Row("glow_tts", "hifigan_v2")]
    with pytest.raises(UsageError, match="--only glow: is not measured; there are vits, "):
        coqui.chosen(["glow"])


def test_the_table_marks_what_misses_its_aim(tmp_path: Path) -> None:
    result = Result("coqui")
    pairs = {
        Row("vits"): (Spoken(0.1, 1.0, 4.0), Spoken(2.0, 2.0, 4.0)),
        Row("fast_pitch", "hifigan_v2"): (Spoken(0.1, 0.5, 4.0), Spoken(0.4, 0.4, 4.0)),
        Row("glow_tts", "hifigan"): (Spoken(0.1, 0.4, 4.0), Spoken(0.6, 0.6, 4.0)),
    }
    for row, pair in pairs.items():
        coqui.noted(row, [pair], result)
    result.notes["rows"] = [[row.voice, row.vocoder] for row in pairs]
    file = {
        "environment": {"cpu": "X", "cores": 2, "libraries": {"coqui-tts": "0", "torch": "1"}},
        "metrics": result.metrics,
        "notes": result.notes,
    }
    (tmp_path / coqui_table.RESULT).write_text(json.dumps(file))
    assert coqui_table.table(tmp_path).splitlines()[-3:] == [
        "| vits | 100 ms | 2000 ms | 20.0 × | 0.250 | 0.500 | 2.00 × | 4.0 / 4.0 s |",
        "| fast_pitch + hifigan_v2 | 100 ms * | 400 ms | 4.0 × * | 0.125 | 0.100 | 0.80 × * | 4.0 / 4.0 s |",
        "| glow_tts + hifigan | 100 ms | 600 ms | 6.0 × | 0.100 | 0.150 | 1.50 × | 4.0 / 4.0 s |",
    ]
