"""Tokenizers, text from tokens, stop strings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as Library
from voxturn.runtime.errors import CorruptModel
from voxturn.runtime.text.tokenizer import JsonTokenizer, StopStrings, StreamDecoder


class Bytes:
    """A byte-level tokenizer: id i stands for `tokens[i]`, or for the byte i."""

    def __init__(self, tokens: Sequence[bytes] = ()) -> None:
        self.tokens = tokens or [bytes([i]) for i in range(256)]

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(self.tokens[i] for i in ids).decode(errors="replace")

    def id_of(self, token: str) -> int | None:
        return None


@pytest.fixture
def tokenizer_file(tmp_path: Path) -> Path:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    library = Library(models.BPE({char: i for i, char in enumerate(alphabet)}, []))
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    library.add_special_tokens([AddedToken("<|im_end|>", special=True)])
    path = tmp_path / "tokenizer.json"
    library.save(str(path))
    return path


def streamed(decoder: StreamDecoder, ids: Sequence[int]) -> list[str]:
    return [*(decoder.push(i) for i in ids), decoder.flush()]


def test_a_tokenizer_file_encodes_and_decodes(tokenizer_file: Path) -> None:
    tokenizer = JsonTokenizer(tokenizer_file)
    text = "Grüße, 世界 😀"
    ids = tokenizer.encode(text)
    assert len(ids) == len(text.encode())
    assert tokenizer.decode(ids) == text
    assert tokenizer.encode("") == []


def test_special_tokens_are_recognised_never_added_and_never_text(tokenizer_file: Path) -> None:
    tokenizer = JsonTokenizer(tokenizer_file)
    mark = tokenizer.id_of("<|im_end|>")
    assert mark == 256
    assert tokenizer.encode("a<|im_end|>") == [*tokenizer.encode("a"), mark]
    assert tokenizer.decode([*tokenizer.encode("a"), mark]) == "a"
    assert tokenizer.id_of("<|unknown|>") is None


@pytest.mark.parametrize("content", [None, b"", b"{", b"{}", b'{"model": 5}', b"\xff\xfe"])
def test_a_damaged_tokenizer_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CorruptModel, match="pull the model again") as caught:
        JsonTokenizer(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 5


def test_truncation_and_padding_of_a_file_are_left_out(tokenizer_file: Path) -> None:
    library = Library.from_file(str(tokenizer_file))
    library.enable_truncation(8)
    library.enable_padding(length=16)
    plain = JsonTokenizer(tokenizer_file)
    library.save(str(tokenizer_file))
    tokenizer = JsonTokenizer(tokenizer_file)
    for text in ("hi", "a text of more than eight bytes"):
        assert tokenizer.encode(text) == plain.encode(text)
        assert len(tokenizer.encode(text)) == len(text)


def test_marks_are_the_special_tokens_and_what_looks_like_one(tokenizer_file: Path) -> None:
    library = Library.from_file(str(tokenizer_file))
    library.add_tokens(["<think>", "[INST]", "  ", "word"])
    library.add_special_tokens(["SPECIAL", "|"])
    library.save(str(tokenizer_file))
    assert set(JsonTokenizer(tokenizer_file).marks) == {
        "<|im_end|>",
        "<think>",
        "[INST]",
        "SPECIAL",
    }


@given(st.lists(st.sampled_from(["▁the", "▁", "sea", "▁is", "!", "<0xC3>", "<0xA9>"]), max_size=9))
@example(["<0xC3>", "<0xA9>", "<0xC3>", "<0xA9>"])
@settings(max_examples=400)
def test_spaces_before_words_stream_as_they_are_decoded(words: list[str]) -> None:
    tokens = ["▁the", "▁", "sea", "▁is", "!", "<0xC3>", "<0xA9>"]
    library = Library(models.BPE({token: i for i, token in enumerate(tokens)}, []))
    replace, strip = decoders.Replace("▁", " "), decoders.Strip(" ", 1, 0)
    library.decoder = decoders.Sequence([replace, decoders.ByteFallback(), decoders.Fuse(), strip])

    class Spaced(Bytes):
        def decode(self, ids: Sequence[int]) -> str:
            text: str = library.decode(list(ids))
            return text

    ids = [tokens.index(word) for word in words]
    whole = library.decode(ids)
    if "\ufffd" not in whole:
        assert "".join(streamed(StreamDecoder(Spaced()), ids)) == whole


def test_the_library_s_tokens_stream_as_whole_characters(tokenizer_file: Path) -> None:
    tokenizer = JsonTokenizer(tokenizer_file)
    text = "aé世😀b"
    pieces = streamed(StreamDecoder(tokenizer), tokenizer.encode(text))
    assert pieces == ["a", "", "é", "", "", "世", "", "", "", "😀", "b", ""]


@given(st.text(max_size=40))
def test_any_text_comes_back_byte_by_byte(text: str) -> None:
    pieces = streamed(StreamDecoder(Bytes()), list(text.encode()))
    assert "".join(pieces) == text
    assert all("\ufffd" not in piece for piece in pieces) or "\ufffd" in text


@given(
    text=st.text(st.sampled_from("aé世😀🏳\u200d\ufe0f"), max_size=12),
    sizes=st.lists(st.integers(1, 7), min_size=1, max_size=30),
)
@example(text="a😀😀😀😀😀", sizes=[2, 4])
def test_tokens_that_end_and_begin_inside_characters_come_back_whole(
    text: str, sizes: list[int]
) -> None:
    raw, tokens = text.encode(), []
    while raw:
        size = sizes[len(tokens) % len(sizes)]
        tokens.append(raw[:size])
        raw = raw[size:]
    pieces = streamed(StreamDecoder(Bytes(tokens or [b""])), range(len(tokens)))
    assert "".join(pieces) == text
    assert all("\ufffd" not in piece for piece in pieces)


@given(st.binary(max_size=40))
@example(b"\xf0\x9f")
@example(b"\x80" * 9)
def test_bytes_that_are_no_text_lose_nothing_that_is(raw: bytes) -> None:
    pieces = streamed(StreamDecoder(Bytes()), list(raw))
    assert "".join(pieces) == raw.decode(errors="replace")


def test_a_beginning_without_an_end_is_given_at_the_flush() -> None:
    decoder = StreamDecoder(Bytes())
    assert [decoder.push(0xF0), decoder.push(0x9F)] == ["", ""]
    assert decoder.flush() == "\ufffd"
    assert decoder.flush() == ""
    assert decoder.push(ord("a")) == "a"


def whole(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    found = [text.find(stop) for stop in stops if stop and stop in text]
    return (text[: min(found)], True) if found else (text, False)


@pytest.mark.slow
@given(
    text=st.text(st.sampled_from("ab\n"), max_size=30),
    stops=st.lists(st.text(st.sampled_from("ab\n"), max_size=5), max_size=3),
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=10),
)
@example(text="abab", stops=["abb", "ba"], sizes=[1])
@example(text="abba", stops=["abbb", "b"], sizes=[1])
@settings(max_examples=500)
def test_stop_strings_equal_a_search_of_the_whole_text(
    text: str, stops: list[str], sizes: list[int]
) -> None:
    stream, out, at, turn = StopStrings(stops), "", 0, 0
    expected, hit = whole(text, stops)
    while at < len(text):
        size = sizes[turn % len(sizes)]
        out += stream.push(text[at : at + size])
        assert expected.startswith(out)
        at, turn = at + size, turn + 1
    out += stream.flush()
    assert (out, stream.hit) == (expected, hit)
    assert stream.push("more") == ("" if hit else StopStrings(stops).push("more"))


def test_only_what_may_begin_a_stop_is_held_back() -> None:
    stream = StopStrings(["\nUser:"])
    assert [
        stream.push(piece) for piece in ("Hello\n", "Us", "e it. ", "\nUser", ": hi", "more")
    ] == [
        "Hello",
        "",
        "\nUse it. ",
        "",
        "",
        "",
    ]
    assert stream.hit
    assert stream.flush() == ""


def test_without_stops_everything_passes_at_once() -> None:
    stream = StopStrings(["", ""])
    assert stream.push("abc") == "abc"
    assert not stream.hit
