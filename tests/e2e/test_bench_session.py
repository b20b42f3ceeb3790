"""The long conversation that a benchmark holds, a minute of it."""

from __future__ import annotations

from pathlib import Path

from voxturn.bench import marathon


def test_a_minute_of_conversation_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    result = marathon.main("demo", 1.0, 6.0, path)
    assert path.exists()
    values = {name: value["value"] for name, value in result.metrics.items() if "value" in value}
    asked = values.get("session.long.asked", 0) + values.get("session.long.typed", 0)
    assert asked > values.get("session.long.unanswered", 0)
    for what in ("errors", "slots_left", "threads_left", "tasks_left"):
        assert values[f"session.long.{what}"] == 0, what
