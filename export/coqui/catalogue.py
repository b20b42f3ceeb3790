"""coqui-tts's list of published models, as entries of the registry.

`python -m voxturn.export.coqui.catalogue` writes `runtime/models/coqui.toml` from the list that the
installed coqui-tts carries (`TTS/.models.json`). Source: `TTS.utils.manage.ModelManager`.
"""

from __future__ import annotations

import json
from importlib import metadata, util
from pathlib import Path
from typing import Any

from huggingface_hub.constants import ENDPOINT
from voxturn.runtime.errors import ExecutorUnavailable
from voxturn.runtime.models.store import write_atomic

TARGET = Path(__file__).parents[2] / "runtime" / "models" / "coqui.toml"
_TASKS = {
    "tts_models": "text-to-speech",
    "vocoder_models": "vocoder",
    "voice_conversion_models": "voice-conversion",
}
_OURS = {f"tts_models/multilingual/multi-dataset/xtts_{version}" for version in ("v2", "v1.1")}
"""Aliases in `models.toml`."""
_SOURCES = {"github_rls_url", "repo_id"}
"""Where its files are; kNN-VC has none of its own."""
_MANY = ("multilingual", "universal", "multi-dataset")


def entries(listed: dict[str, Any]) -> str:
    """The registry's entries, as TOML, of a list as coqui-tts has it."""
    lines: list[str] = []
    for kind, languages in listed.items():
        for language, datasets in languages.items():
            for dataset, models in datasets.items():
                for model, about in models.items():
                    name = f"{kind}/{language}/{dataset}/{model}"
                    if name not in _OURS and _SOURCES & about.keys():
                        lines += ["", f"[{_text(name)}]", *_entry(kind, language, about)]
    return "\n".join([*lines, ""])


def _entry(kind: str, language: str, about: dict[str, Any]) -> list[str]:
    told = " ".join(str(about.get("description") or "").split()).replace(f"{ENDPOINT}/", "hf:")
    author = str(about.get("author") or about.get("contact") or "")
    fields: dict[str, Any] = {
        "task": _TASKS[kind],
        "languages": ["*"] if language in _MANY else [language],
        "license": str(about.get("license") or "not stated"),
        "about": told or f"of coqui-tts's list{f', by {author}' if author else ''}",
        "exporter": "coqui",
        "precisions": ["fp32"],
    }
    if vocoder := about.get("default_vocoder"):
        fields["vocoder"] = vocoder
    if "github_rls_url" in about:
        fields["archive"] = about["github_rls_url"]
    else:
        fields["hub"] = f"hf:{about['repo_id']}@main"
        fields["patterns"] = list(about.get("allow") or ["*"])
        fields["without"] = list(about.get("ignore") or [])
    return [f"{name} = {_value(value)}" for name, value in fields.items() if value != []]


def _value(value: str | list[str]) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    return _text(value)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a basic string of TOML is one of JSON


def main() -> None:
    """Write the file. Raises `ExecutorUnavailable` without coqui-tts."""
    found = util.find_spec("TTS")
    if found is None or found.origin is None:
        raise ExecutorUnavailable("coqui-tts is not installed; pip install 'voxturn[coqui]'")
    listed = json.loads((Path(found.origin).parent / ".models.json").read_text(encoding="utf-8"))
    head = (
        f"# The models that coqui-tts {metadata.version('coqui-tts')} lists, made by"
        " `python -m voxturn.export.coqui.catalogue`.\n"
        "# Archives are of releases: their hashes are locked at the first pull.\n"
    )
    write_atomic(TARGET, (head + entries(listed)).encode())


if __name__ == "__main__":
    main()
