"""Small tokenizers with the marks of known models, and those models' chat templates."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from voxturn.export.decoder.template import Template
from voxturn.export.decoder.tool_format import format_with_tools
from voxturn.runtime.decode.engine import DecodeEngine
from voxturn.runtime.decode.sampler import Sampling
from voxturn.runtime.decode.service import DecodeService
from voxturn.runtime.executors.fake import FakeDecoder
from voxturn.runtime.families.decoder import DecoderReplier
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.messages import Message
from voxturn.runtime.text.chat import Chat, ChatFormat
from voxturn.runtime.text.tokenizer import JsonTokenizer

_TEMPLATES = Path(__file__).parent / "data" / "chat_templates"
KINDS = {
    "qwen2.5": ("<|im_start|>", "<|im_end|>", "<|endoftext|>"),
    "smollm2": ("<|im_start|>", "<|im_end|>", "<|endoftext|>"),
    "llama3": ("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"),
    "llama3.2": ("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"),
    "llama2": ("<s>", "</s>"),
    "mistral": ("<s>", "</s>", "[INST]", "[/INST]"),
    "zephyr": ("<s>", "</s>"),
    "deepseek-r1": ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>"),
    "qwen3": ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "<think>", "</think>"),
    "llama3.1": ("<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"),
    "mistral-tools": ("<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[TOOL_RESULTS]"),
    "gemma": ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"),
    "vicuna": ("<s>", "</s>"),
}  # fmt: skip
"""Templates as their makers publish them, and the marks of their tokenizers: bos and eos first."""
SPACED = ("llama2", "mistral", "zephyr", "vicuna")
"""Those whose tokenizers are of SentencePiece's kind, with a space before every text."""


def template(name: str) -> str:
    """A chat template as its makers publish it."""
    return (_TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8")


def bytes_tokenizer() -> Tokenizer:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("Ċ", "Ċ"), ("a", "n"), ("o", "f")]
    vocabulary = {letter: i for i, letter in enumerate([*letters, *map("".join, merges)])}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def spaced_tokenizer() -> Tokenizer:
    letters = ["▁", *(chr(i) for i in range(33, 127))]
    merges = [("t", "h"), ("th", "e"), ("▁", "the"), ("a", "n"), ("▁", "[")]
    tokens = ["<unk>", *(f"<0x{i:02X}>" for i in range(256)), *letters, *map("".join, merges)]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    tokenizer = Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return tokenizer


def make_folder(folder: Path, kind: str, source: str) -> Path:
    """A tokenizer with the marks of `kind`, and a template."""
    tokenizer = spaced_tokenizer() if kind in SPACED else bytes_tokenizer()
    marks = list(KINDS[kind])
    tokenizer.add_special_tokens(marks)
    tokenizer.save(str(folder / "tokenizer.json"))
    about = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": marks[0],
        "eos_token": {"__type": "AddedToken", "content": marks[1], "special": True},
        "chat_template": source,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(about), encoding="utf-8")
    return folder


def source(kind: str) -> Template:
    bos, eos, *_ = KINDS[kind]
    return Template(template(kind), "chat_template.jinja", {"bos_token": bos, "eos_token": eos})


@cache
def found_in(kind: str) -> ChatFormat:
    """The format of a kind's template."""
    return format_with_tools(source(kind), Path("folder"))


def chat_of(folder: Path, kind: str) -> Chat:
    """Dialogues as a kind's template writes them; its tokenizer goes into the folder."""
    make_folder(folder, kind, template(kind))
    return Chat(JsonTokenizer(folder / "tokenizer.json"), found_in(kind))


def _show(path: Path, marks: Sequence[str]) -> None:
    """Have marks as tokens that are not special, as Qwen3's tokenizer has them."""
    about = json.loads(path.read_text(encoding="utf-8"))
    for token in about["added_tokens"]:
        token["special"] = token["special"] and token["content"] not in marks
    path.write_text(json.dumps(about), encoding="utf-8")
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.add_tokens(list(marks))
    tokenizer.save(str(path))


@contextmanager
def replier_of(folder: Path, kind: str) -> Iterator[DecoderReplier]:
    """A replier of a kind whose decoder chooses nothing: give it a `script`."""
    make_folder(folder, kind, template(kind))
    _show(folder / "tokenizer.json", ("<think>", "</think>", "<tool_call>", "</tool_call>"))
    tokenizer = JsonTokenizer(folder / "tokenizer.json")
    chat = Chat(tokenizer, found_in(kind))
    end = tokenizer.id_of(KINDS[kind][1])
    assert end is not None
    lane = Lane("reply")
    decoder = FakeDecoder(lambda ids: end, tokenizer.size, 2, 8192)
    service = DecodeService(DecodeEngine(decoder), lane)
    chat.stop_ids = frozenset({end})
    try:
        yield DecoderReplier(service, tokenizer, chat, Sampling(), 2000)
    finally:
        lane.close()


def writes(replier: DecoderReplier, *answers: str) -> None:
    """Have a replier write these answers, one after each round of calls."""

    def script(messages: Sequence[Message]) -> list[int]:
        rounds = 0
        for message in messages:
            rounds = 0 if message.role == "user" else rounds + bool(message.calls)
        ids = replier.tokenizer.encode(answers[min(rounds, len(answers) - 1)])
        return [*ids, *replier.chat.stop_ids]

    replier.script = script
