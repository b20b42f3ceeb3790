"""The metadata of GGUF files: whole ones pass in either byte order, and none of their ends is
missed."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from voxturn.export.decoder.gguf_header import check_header


def write(path: Path, order: gguf.GGUFEndian) -> int:
    """A file of a key of every kind and a tensor.

    Returns where its metadata end, but for what is said of the tensor.
    """
    writer = gguf.GGUFWriter(str(path), "llama", endianess=order)
    writer.add_block_count(1)
    writer.add_token_list(["a", "bc", ""])
    writer.add_token_types([1, 2, 3])
    writer.add_bool("flag", True)
    writer.add_uint64("large", 2**40)
    writer.add_float64("real", 1.5)
    writer.add_tensor("token_embd.weight", np.zeros((2, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes().index(b"token_embd.weight") - 8


@pytest.mark.parametrize("order", [gguf.GGUFEndian.LITTLE, gguf.GGUFEndian.BIG])
def test_a_whole_file_passes_and_none_that_ends_in_its_keys(
    order: gguf.GGUFEndian, tmp_path: Path
) -> None:
    path = tmp_path / "model.gguf"
    end = write(path, order)
    check_header(path)
    data = path.read_bytes()
    for size in range(0, end, 3):
        path.write_bytes(data[:size])
        with pytest.raises(
            ValueError, match=r"^it (does not begin|ends within|would have)|beyond its end"
        ):
            check_header(path)
