"""What a graph may take is bounded while it loads and first runs, and the process's own limit is as
before after it."""

from __future__ import annotations

import mmap
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from voxturn.runtime.executors import memory
from voxturn.runtime.executors.memory import GraphMemory

MB = 1 << 20
WEIGHTS = 8 * MB


def has_room_for(size: int) -> bool:
    """Whether this process gets so many bytes; none of them is touched."""
    try:
        mmap.mmap(-1, size, mmap.MAP_PRIVATE).close()
    except OSError:
        return False
    return True


def limit() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_DATA)


@pytest.fixture
def graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GraphMemory]:
    """A graph of 8 MB: 32 MB for them, and 64 MB."""
    monkeypatch.setattr(memory, "_FREE_BYTES", 64 * MB)
    (tmp_path / "folder").mkdir()
    path = tmp_path / "graph.onnx"
    path.write_bytes(bytes(WEIGHTS))
    before = limit()
    yield GraphMemory(path)
    assert limit() == before


def test_a_graph_loads_in_proportion_to_its_files(graph: GraphMemory) -> None:
    with graph.loading():
        assert has_room_for(80 * MB)
        assert not has_room_for(128 * MB)
    assert has_room_for(128 * MB)


def test_only_the_first_run_is_bounded(graph: GraphMemory) -> None:
    with graph.running():
        assert not has_room_for(128 * MB)
    with graph.running():
        assert has_room_for(128 * MB)


def test_a_first_run_that_fails_is_made_again(graph: GraphMemory) -> None:
    with pytest.raises(KeyError), graph.running():
        raise KeyError
    with graph.running():
        assert not has_room_for(128 * MB)


def test_of_several_graphs_at_once_the_largest_has_its_room(
    graph: GraphMemory, tmp_path: Path
) -> None:
    path = tmp_path / "folder" / "larger.onnx"
    path.write_bytes(bytes(4 * WEIGHTS))
    larger = GraphMemory(path)
    with graph.loading():
        with larger.loading():
            assert has_room_for(160 * MB)
            assert not has_room_for(256 * MB)
        assert not has_room_for(128 * MB)


def test_a_limit_of_the_process_s_own_stays(graph: GraphMemory) -> None:
    soft, hard = limit()
    pages = int(Path("/proc/self/statm").read_text().split()[5])
    resource.setrlimit(resource.RLIMIT_DATA, (pages * resource.getpagesize() + 32 * MB, hard))
    try:
        with graph.loading():
            assert not has_room_for(64 * MB)
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
