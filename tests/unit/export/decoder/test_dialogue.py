"""Chat templates as formats: what is kept of them, what ends an answer, and which are refused."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from voxturn.export.decoder.checkpoint import SafetensorsCheckpoint
from voxturn.export.decoder.dialogue import chat_form, dialogue_properties
from voxturn.export.decoder.dialogue_format import format_of
from voxturn.export.decoder.template import Template
from voxturn.runtime.errors import ExportFailed
from voxturn.runtime.messages import Message
from voxturn.runtime.text.chat import START, Chat, ChatFormat
from voxturn.runtime.text.tokenizer import JsonTokenizer

from tests.chat_templates import KINDS, make_folder, template

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA3 = template("llama3")


def formed(source: str, **tokens: str) -> ChatFormat:
    return format_of(Template(source, "tokenizer_config.json", tokens), Path("folder"))


def properties(folder: Path, kind: str, source: str, **config: Any) -> dict[str, Any]:
    make_folder(folder, kind, source)
    for name, table in config.items():
        (folder / f"{name}.json").write_text(json.dumps(table), encoding="utf-8")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    checkpoint = SafetensorsCheckpoint.__new__(SafetensorsCheckpoint)
    return dialogue_properties(folder, checkpoint, tokenizer, tokenizer.get_vocab_size())


def named(folder: Path, ids: list[int]) -> set[str]:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return {str(tokenizer.id_to_token(i)) for i in ids}


def test_a_fine_tune_in_another_s_format_has_its_own(tmp_path: Path) -> None:
    """Of a Llama 3 that was taught ChatML: its tokenizer still has Llama's marks, its template is
    ChatML."""
    tokenizer = Tokenizer.from_file(str(make_folder(tmp_path, "llama3", CHATML) / "tokenizer.json"))
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>", "<|end_of_text|>"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    end = tokenizer.token_to_id("<|end_of_text|>")
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [end]}))
    checkpoint = SafetensorsCheckpoint.__new__(SafetensorsCheckpoint)
    made = dialogue_properties(tmp_path, checkpoint, tokenizer, tokenizer.get_vocab_size())
    assert chat_form(tokenizer) == "llama3"
    chat = Chat(JsonTokenizer(tmp_path / "tokenizer.json"), ChatFormat.of(made))
    prompt = chat.prompt([Message("user", "Hi")])
    text = tokenizer.decode(prompt, skip_special_tokens=False)
    assert text == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    # by the template, by the tokenizer's configuration and by the generation's
    stops = {"<|im_end|>", "<|eot_id|>", "<|end_of_text|>"}
    assert named(tmp_path, made["stop_ids"]) == stops
    assert chat.stop_ids == set(made["stop_ids"])


@pytest.mark.parametrize(
    ("config", "stops"),
    [
        ({}, set()),
        ({"generation_config": {"eos_token_id": 3}}, {3}),
        ({"generation_config": {"eos_token_id": [3, 4]}, "config": {"eos_token_id": 5}}, {3, 4}),
        ({"config": {"eos_token_id": 5}}, {5}),
        ({"generation_config": {}, "config": {"eos_token_id": 5}}, set()),
        ({"generation_config": {"eos_token_id": [3, 10**9]}}, {3}),
    ],
)
def test_what_ends_an_answer_is_all_that_anyone_says(
    config: dict[str, Any], stops: set[int], tmp_path: Path
) -> None:
    made = properties(tmp_path, "smollm2", CHATML, **({"config": {}} | config))
    both = {"<|im_end|>"}  # the tokenizer's eos, and the template's
    assert named(tmp_path, [i for i in made["stop_ids"] if i not in stops]) == both
    assert stops <= set(made["stop_ids"])


@pytest.mark.parametrize("value", ["2", 2.5, True, [1, "2"], -1, {"a": 1}])
def test_an_eos_that_is_no_id_is_refused(value: object, tmp_path: Path) -> None:
    with pytest.raises(ExportFailed, match="which is neither an id nor a list of ids"):
        properties(tmp_path, "smollm2", CHATML, generation_config={"eos_token_id": value})


def test_without_a_mark_the_next_heading_ends_an_answer(tmp_path: Path) -> None:
    plain = (
        "{% for m in messages %}### {{ m.role }}:\n{{ m.content }}\n\n{% endfor %}"
        "{% if add_generation_prompt %}### assistant:\n{% endif %}"
    )
    make_folder(tmp_path, "llama2", plain)
    made = properties(tmp_path, "llama2", plain, config={})
    assert made["chat"]["stop_texts"] == ["### user:"]
    assert named(tmp_path, made["stop_ids"]) == {"</s>"}
    assert ChatFormat.of(made).stop_texts == ("### user:",)


def test_where_nothing_ends_an_answer_the_template_is_refused(tmp_path: Path) -> None:
    endless = "{% for m in messages %}{{ m.content }}{% endfor %}"
    make_folder(tmp_path, "llama2", endless)
    table = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(table | {"eos_token": None}))
    (tmp_path / "config.json").write_text("{}")
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    checkpoint = SafetensorsCheckpoint.__new__(SafetensorsCheckpoint)
    with pytest.raises(ExportFailed, match="nothing says where an answer ends"):
        dialogue_properties(tmp_path, checkpoint, tokenizer, 500)


@pytest.mark.parametrize(
    ("opening", "opens", "end"),
    [
        ("<think>\n", True, "</think>"),
        ("<think>\n\n</think>\n\n", False, ""),
        ("", False, ""),
        ("<reasoning>", True, "</reasoning>"),
        ("[THINK]", True, "[/THINK]"),
        ("[THINK]\n[/THINK]", False, ""),
        ("<seed:think>", True, "</seed:think>"),
        ("◁think▷", True, "◁/think▷"),
        ("<|START_THINKING|>", True, "<|END_THINKING|>"),
    ],
)
def test_a_thought_that_is_left_open_is_recorded(
    opening: str, opens: bool, end: str, tmp_path: Path
) -> None:
    source = CHATML.replace("assistant\n{%", f"assistant\n{opening}{{%")
    made = properties(tmp_path, "smollm2", source, config={})
    assert made["opens_thought"] is opens
    form = ChatFormat.of(made)
    assert form.thought_end == end
    assert form.opening["user"].endswith(f"assistant\n{opening}")
    assert form.between["user"]["assistant"].endswith("assistant\n")


def test_a_thought_whose_end_is_never_written_is_refused(tmp_path: Path) -> None:
    source = CHATML.replace("assistant\n{%", "assistant\n<think>\n{%")
    with pytest.raises(ExportFailed, match="whose end </think> the tokenizer never writes"):
        properties(tmp_path, "qwen3", source, config={})


def test_thinking_is_switched_off_where_the_template_can() -> None:
    form = formed(template("qwen3"))
    assert form.opening["user"].endswith("<think>\n\n</think>\n\n")
    assert not form.thought_end


def test_without_a_template_the_marks_say_the_format(tmp_path: Path) -> None:
    make_folder(tmp_path, "qwen3", "")
    (tmp_path / "tokenizer_config.json").unlink()
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    (tmp_path / "config.json").write_text(json.dumps({"eos_token_id": 7}))
    checkpoint = SafetensorsCheckpoint.__new__(SafetensorsCheckpoint)
    made = dialogue_properties(tmp_path, checkpoint, tokenizer, 500)
    assert made == {"chat": "qwen3", "stop_ids": [7], "opens_thought": False}
    (tmp_path / "plain").mkdir()
    make_folder(tmp_path / "plain", "llama2", "")
    (tmp_path / "plain" / "tokenizer_config.json").unlink()
    (tmp_path / "plain" / "config.json").write_text("{}")
    tokenizer = Tokenizer.from_file(str(tmp_path / "plain" / "tokenizer.json"))
    with pytest.raises(ExportFailed, match="has no chat template, and its tokenizer none of"):
        dialogue_properties(tmp_path / "plain", checkpoint, tokenizer, 500)


def test_a_date_is_that_of_the_prompt(tmp_path: Path) -> None:
    make_folder(tmp_path, "llama3.2", template("llama3.2"))
    form = formed(template("llama3.2"), bos_token="<|begin_of_text|>")
    tokenizer = JsonTokenizer(tmp_path / "tokenizer.json")
    for day in (1, 2):
        chat = Chat(tokenizer, form, lambda day=day: datetime(2031, 5, day))
        text = tokenizer.decode(chat.prompt([Message("user", "Hi")]))
        assert f"Today Date: 0{day} May 2031" in text


def test_a_template_that_reckons_with_its_date_keeps_today_s() -> None:
    year = datetime.now().year
    form = formed("{{ strftime_now('%Y') | int + 1 }}" + CHATML)
    assert form.between[START]["user"].startswith(str(year + 1))


def test_messages_of_one_role_in_a_row_are_kept_where_the_template_takes_them() -> None:
    assert formed(CHATML).between["user"]["user"] == "<|im_end|>\n<|im_start|>user\n"
    assert (
        "user" not in formed(template("llama2"), bos_token="<s>", eos_token="</s>").between["user"]
    )


_LAST = "{% if loop.last %}now: {% endif %}"
REFUSED = {
    "the system prompt stands before the last question": (
        template("mistral-system-last"), "moves, repeats or changes the user's messages"),
    "the last question is marked": (
        CHATML.replace("{{ m.content }}", _LAST + "{{ m.content }}"), "writes the user's messages"),
    "messages are numbered": (
        CHATML.replace("{{ m.content }}", "{{ loop.index }}. {{ m.content }}"), "in several ways"),
    "messages are counted at the beginning": (
        "{{ messages | length }} messages\n" + CHATML, "at the beginning in several ways"),
    "texts are changed": (
        CHATML.replace("m.content", "m.content | upper"), "moves, repeats or changes the user's"),
    "texts come twice": (
        CHATML.replace("{{ m.content }}", "{{ m.content }}{{ m.content }}"), "repeats"),
    "answers are opened in another way than written": (
        CHATML.replace("%}<|im_start|>assistant\n", "%}<|im_start|>bot\n"), "otherwise than it opens"),
    "signs are changed": (
        CHATML.replace("m.content", "m.content | replace('?', '.')"), "some dialogues in another way"),
    "only one question": (
        "{% if messages | length > 2 %}{{ raise_exception('one\nquestion') }}{% endif %}" + CHATML,
        r"cannot be used \(one question\)"),
    "no program": ("{% for m in messages %}", r"cannot be used \("),
    "nothing is taken": ("{{ raise_exception('tools only') }}", r"cannot be used \(tools only\)"),
}  # fmt: skip


@pytest.mark.parametrize(("source", "says"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_kept_is_refused_in_a_line(source: str, says: str) -> None:
    with pytest.raises(ExportFailed, match=says) as caught:
        formed(source, bos_token="<s>", eos_token="</s>")
    assert str(caught.value).startswith("folder: tokenizer_config.json cannot be used")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_format_comes_back_from_its_table(kind: str, tmp_path: Path) -> None:
    made = json.loads(json.dumps(properties(tmp_path, kind, template(kind), config={})))
    form = ChatFormat.of(made)
    assert form.to_table() == made["chat"]
    assert form.stop_ids == tuple(made["stop_ids"])
