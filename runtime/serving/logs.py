"""Where a served model's process logs to: Triton's own log."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

LIBRARY = "voxturn"
"""The logger above those of all our modules."""


class TritonLog(logging.Handler):
    """Hands records to Triton's logger.

    `logger` is `triton_python_backend_utils.Logger`, `model` the served model.
    """

    def __init__(self, logger: Any, model: str) -> None:
        super().__init__()
        self._logger = logger
        self._model = model

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record at the level of Triton's that is its own; what is below INFO is verbose
        there."""
        try:
            text = f"{self._model}: {record.name}: {self.format(record)}"
            if record.levelno >= logging.ERROR:
                self._logger.log_error(text)
            elif record.levelno >= logging.WARNING:
                self._logger.log_warn(text)
            elif record.levelno >= logging.INFO:
                self._logger.log_info(text)
            else:
                self._logger.log_verbose(text)
        except Exception:  # noqa: BLE001  as every handler: `logging` decides what becomes of it
            self.handleError(record)


@contextlib.contextmanager
def logged_by_triton(utilities: Any, model: str) -> Iterator[None]:
    """Have Triton log what this process logs from INFO on.

    `utilities` is `triton_python_backend_utils`; one without a logger (before 22.09) has standard
    error in its log.
    """
    logger = getattr(utilities, "Logger", None)
    handler = logging.StreamHandler() if logger is None else TritonLog(logger, model)
    ours = logging.getLogger(LIBRARY)
    level = ours.level
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    try:
        yield
    finally:
        ours.removeHandler(handler)
        ours.setLevel(level)
