"""System shared memory for large inputs, where client and server are on one host: the bytes are written once.

A region's name is taken away as soon as the server has mapped it, so that no file is left whoever is killed; of a client
that is killed the server keeps the mapping, 16 MB at most, until it ends. Where the server cannot map it (another
container), inputs go over the wire as always.
"""

from __future__ import annotations

import asyncio
import itertools
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

LEAST_BYTES = 64 << 10
"""Smaller inputs are as fast over the wire."""

_REGION_BYTES, _REGIONS = 4 << 20, 4
_NUMBERS = itertools.count()
_IN_USE, _LET_GO_S = "currently in use", 2.0
"""A server counts a region as in use until it has let go of the request, which is just after its answer (Triton 2.51)."""
_LOCAL = ("localhost", "127.0.0.1", "[::1]")


class SharedInputs:
    """The regions of one connection to one server. `client` is tritonclient's asynchronous one."""

    def __init__(self, client: Any, address: str) -> None:
        self._client = client
        self._free: list[tuple[str, mmap.mmap]] = []
        self._made: list[str] = []
        self._count = 0
        self._usable = address.rpartition(":")[0] in _LOCAL

    async def prepare(self, size: int) -> None:
        """Have a region ready for an input of so many bytes."""
        if (
            self._free
            or not self._usable
            or not LEAST_BYTES <= size <= _REGION_BYTES
            or self._count >= _REGIONS
        ):
            return
        self._count += 1  # before anything is awaited: others prepare as well
        name = f"voxturn-client-{os.getpid()}-{next(_NUMBERS)}"
        path = f"/dev/shm/{name}"  # noqa: S108  where POSIX shared memory is
        try:
            file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        except OSError:
            self._usable = False
            return
        try:
            os.ftruncate(file, _REGION_BYTES)
            region = mmap.mmap(file, _REGION_BYTES)
            await self._client.register_system_shared_memory(name, f"/{name}", _REGION_BYTES)
        except Exception:  # noqa: BLE001  the server does not see this host's memory: the wire will do
            self._usable = False
            return
        finally:
            os.close(file)
            os.unlink(path)  # noqa: PTH108
        self._made.append(name)
        self._free.append((name, region))

    @contextmanager
    def placed(self, tensor: Any, array: np.ndarray[Any, Any]) -> Iterator[bool]:
        """Put an input into a free region until this ends; False if there is none, and nothing was done."""
        if not self._free or not LEAST_BYTES <= array.nbytes <= _REGION_BYTES:
            yield False
            return
        name, region = self._free.pop()
        try:
            region[: array.nbytes] = array.tobytes()
            tensor.set_shared_memory(name, array.nbytes)
            yield True
        finally:
            if name in self._made:
                self._free.append((name, region))
            else:
                region.close()  # forgotten meanwhile

    def forget(self) -> None:
        """The server does not know the regions any more: it was started again."""
        for _, region in self._free:
            region.close()
        self._free, self._made, self._count = [], [], 0

    async def aclose(self) -> None:
        """Let the server unmap what it mapped."""
        try:
            async with asyncio.timeout(_LET_GO_S):
                for name in self._made:
                    await self._unmapped(name)
        except Exception:  # noqa: BLE001, S110  the server is gone, and its mappings with it
            pass
        self.forget()

    async def _unmapped(self, name: str) -> None:
        while True:
            try:
                await self._client.unregister_system_shared_memory(name)
                return
            except Exception as exc:
                if _IN_USE not in str(exc):
                    raise
            await asyncio.sleep(0.01)
