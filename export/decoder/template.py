"""A checkpoint's own chat template: where it lies, and what it writes.

Templates are programs of strangers: they run in Jinja's sandbox, with what transformers gives them
and nothing else. Source: transformers, `utils/chat_template_utils.py` and
`tokenization_utils_base.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from jinja2 import TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from voxturn.export.checkpoint import read_table
from voxturn.export.decoder.gguf import GgufCheckpoint
from voxturn.runtime.errors import CorruptModel, ExportFailed
from voxturn.runtime.files import read_text
from voxturn.runtime.messages import Message, ToolCall, ToolSpec
from voxturn.runtime.text.tool_format import TOOL, tool_table

_TOKENS = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
_LONGEST = 1 << 20
"""Characters of a template, and of a dialogue of a few short messages: what has or writes more is
broken."""


class Refused(Exception):
    """A template does not take a dialogue; `str` is its reason in one line."""

    def __init__(self, reason: object) -> None:
        super().__init__(" ".join(str(reason).split()) or type(reason).__name__)


@dataclass(frozen=True)
class Template:
    """A template's source, the special tokens by the names it knows them by, and the file it is
    from."""

    source: str
    file: str
    tokens: Mapping[str, Any] = field(default_factory=dict)

    def compiled(self, strftime_now: Callable[[str], str]) -> Renderer:
        """Ready to write dialogues. Raises `Refused`."""
        if len(self.source) > _LONGEST:
            raise Refused(f"it has more than {_LONGEST} characters")
        environment = _environment(strftime_now)
        try:
            template = environment.from_string(self.source)
        except Exception as exc:  # whatever Jinja's compiler raises
            raise Refused(exc) from exc
        known = {**self.tokens, "enable_thinking": False}

        def render(
            messages: Sequence[Message], opening: bool, tools: Sequence[ToolSpec] = ()
        ) -> str:
            written = ""
            try:
                for piece in template.generate(
                    **known,
                    messages=_plain(messages),
                    tools=[tool_table(tool) for tool in tools] or None,
                    documents=None,
                    add_generation_prompt=opening,
                ):
                    written += piece
                    if len(written) > _LONGEST:
                        raise Refused(f"it writes more than {_LONGEST} characters")
            except Refused:
                raise
            except Exception as exc:  # a template is a program, which may fail in any way
                raise Refused(exc) from exc
            return written

        return render


class Renderer(Protocol):
    """Messages, and whether the model's answer is opened, to the text of the dialogue."""

    def __call__(
        self, messages: Sequence[Message], opening: bool, tools: Sequence[ToolSpec] = ()
    ) -> str:
        """Raise `Refused` for what the template does not take."""
        ...


def _plain(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages as templates know them."""
    names = {call.id: call.name for message in messages for call in message.calls}
    plain: list[dict[str, Any]] = []
    for message in messages:
        about: dict[str, Any] = {"role": message.role, "content": message.text}
        if message.calls:
            about["tool_calls"] = [_call(call) for call in message.calls]
        if message.role == TOOL:
            about |= {"tool_call_id": message.call_id, "name": names.get(message.call_id, "")}
        plain.append(about)
    return plain


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": dict(call.arguments)}
    return {"type": "function", "id": call.id, "function": function}


def today(form: str) -> str:
    """The date, as transformers writes it into a template."""
    return datetime.now().strftime(form)


class _Dict:
    """`dict` in templates, without its attributes."""

    def __call__(self, *args: Any, **values: Any) -> dict[Any, Any]:
        return dict(*args, **values)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class _Namespace(Namespace):
    """`namespace` in templates, without names that begin with an underscore."""

    def __init__(*args: Any, **values: Any) -> None:
        self, *rest = args
        attributes = dict(*rest, **values)
        for name in attributes:
            _check_name(name)
        Namespace.__init__(self, attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        Namespace.__setitem__(self, name, value)


def _check_name(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace cannot have {name!r}")


class _Generation(Extension):
    """`{% generation %}` around what the model wrote, which transformers uses in training: its
    content as it is."""

    tags = {"generation"}  # noqa: RUF012  as Jinja declares it

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_content"), [], [], body).set_lineno(line)

    @staticmethod
    def _content(caller: Callable[[], str]) -> str:
        return caller()


def _environment(strftime_now: Callable[[str], str]) -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = strftime_now
    environment.globals["dict"] = _Dict()
    environment.globals["namespace"] = _Namespace
    return environment


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


def folder_template(folder: Path) -> Template | None:
    """The template of a Hugging Face folder; None where it has none.

    `chat_template.jinja` comes before `tokenizer_config.json`, as in transformers. Raises
    `CorruptModel` or `ExportFailed`.
    """
    about = tokenizer_config(folder)
    tokens = special_tokens(folder)
    file = folder / "chat_template.jinja"
    if file.exists():
        try:
            return Template(read_text(file), file.name, tokens)
        except (OSError, ValueError) as exc:
            raise CorruptModel(f"{file}: cannot be read ({exc}); pull the model again") from exc
    older = folder / "chat_template.json"
    places = [("tokenizer_config.json", about)]
    if older.exists():
        places.append((older.name, read_table(older)))
    for name, table in places:
        if table.get("chat_template") is not None:
            return Template(_chosen(folder / name, table["chat_template"]), name, tokens)
    return None


def _chosen(file: Path, value: object) -> str:
    """The template itself, of several the one that is called default."""
    if isinstance(value, list):
        value = {str(e.get("name")): e.get("template") for e in value if isinstance(e, Mapping)}
    if isinstance(value, Mapping):
        names = ", ".join(map(str, value)) or "nothing"
        value = value.get("default")
        if value is None:
            raise ExportFailed(f"{file}: of its chat templates ({names}) none is called default")
    if not isinstance(value, str):
        raise CorruptModel(f"{file}: chat_template is not text; pull the model again")
    return value


def tokenizer_config(folder: Path) -> dict[str, Any]:
    """`tokenizer_config.json`; empty where there is none. Raises `CorruptModel`."""
    path = folder / "tokenizer_config.json"
    return read_table(path) if path.exists() else {}


def special_tokens(folder: Path) -> dict[str, str]:
    """The special tokens of a Hugging Face folder by the names that templates use, as `bos_token`."""
    path = folder / "special_tokens_map.json"
    tables = [read_table(path)] if path.exists() else []
    tokens: dict[str, str] = {}
    for table in (*tables, tokenizer_config(folder)):
        for name in (f"{kind}_token" for kind in _TOKENS):
            value = table.get(name)
            text = value.get("content") if isinstance(value, Mapping) else value
            if isinstance(text, str):
                tokens[name] = text
    return tokens


def gguf_template(checkpoint: GgufCheckpoint) -> Template | None:
    """The template that a GGUF file carries; None where it has none."""
    try:
        source = checkpoint.field("tokenizer.chat_template")
    except KeyError:
        return None
    texts = checkpoint.field("tokenizer.ggml.tokens")
    tokens = {}
    for kind in ("bos", "eos"):
        number = gguf_token(checkpoint, kind)
        if number is not None and number < len(texts):
            tokens[f"{kind}_token"] = str(texts[number])
    return Template(str(source), "tokenizer.chat_template", tokens)


def gguf_token(checkpoint: GgufCheckpoint, kind: str) -> int | None:
    """The id that a GGUF file has for a kind of token: bos, eos, eot."""
    try:
        return int(checkpoint.field(f"tokenizer.ggml.{kind}_token_id"))
    except KeyError:
        return None
