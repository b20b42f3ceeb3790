"""What a served model's process logs is in Triton's log."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from voxturn.runtime.serving.logs import LIBRARY, logged_by_triton


class Logger:
    """`triton_python_backend_utils.Logger`."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda text: self.lines.append((name, text))


class Utilities:
    """`triton_python_backend_utils`."""

    def __init__(self) -> None:
        self.Logger = Logger()


def test_records_come_at_triton_s_levels_while_the_model_is_served() -> None:
    utilities, log = Utilities(), logging.getLogger("voxturn.runtime.some.module")
    with logged_by_triton(utilities, "xtts"):
        log.debug("not told")
        log.info("loaded in %d s", 3)
        log.warning("slow")
        log.error("dead")
    log.error("not served any more")
    assert utilities.Logger.lines == [
        ("log_info", "xtts: voxturn.runtime.some.module: loaded in 3 s"),
        ("log_warn", "xtts: voxturn.runtime.some.module: slow"),
        ("log_error", "xtts: voxturn.runtime.some.module: dead"),
    ]


def test_a_server_without_a_logger_has_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    before = list(logging.getLogger(LIBRARY).handlers)
    with logged_by_triton(object(), "xtts"):
        logging.getLogger("voxturn.runtime.some.module").warning("slow")
    assert capsys.readouterr().err == "slow\n"
    assert logging.getLogger(LIBRARY).handlers == before
