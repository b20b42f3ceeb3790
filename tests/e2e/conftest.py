"""The demo's models: in the user's store if they are there, pulled otherwise."""

from __future__ import annotations

import pytest
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import Store
from voxturn.runtime.prepare import bring
from voxturn.runtime.profile import load_profile


@pytest.fixture(scope="session")
def demo_models() -> None:
    bring(load_profile("demo"), Store(), Registry.read())
