"""How Coqui's models read: ids, vocabularies and cleaners against coqui-tts's own tokenizer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from voxturn.export.coqui.modules import tts_module
from voxturn.export.coqui.text import reading, vocabulary
from voxturn.runtime.errors import ExportFailed
from voxturn.runtime.text.frontend.cleaners import CLEANERS, clean
from voxturn.runtime.text.frontend.symbols import Reading, SymbolReader
from voxturn.runtime.text.normalize import in_words

pytestmark = pytest.mark.filterwarnings("ignore")  # coqui-tts and what it imports

LATIN = "abcdefghijklmnopqrstuvwxyzàâäçéèêëîïôöûüùÿœæßñãõáíóúìòąćęłńśźżøå"
SENTENCES = {
    "en": [
        "It is four o'clock, isn't it?",
        'She said: "come in"; nobody came.',
        "A well-known voice (mine) speaks.",
        "Salt & pepper!",
        "Wait... what?",
        "  Two   spaces,\na line. ",
        "CAPITALS and small letters",
        "An em dash — and [brackets] <here>",
        "Semi; colon: comma, full stop.",
        "naïve café — déjà vu",
    ],
    "fr": [
        "Où allez-vous ? À l'école.",
        "Marie & Jean; c'est ça : oui !",
        "Le cœur a ses raisons.",
    ],
    "de": ["Heute ist schönes Wetter, nicht wahr?", "Die Straße & der Weg", "Äpfel-Öl; Übung:"],
    "it": ["Buongiorno, come sta?", "Pane & vino: perché no?"],
    "pt": ["Bom dia, como vai?", "Você & eu; não-sei."],
    "ca": ["Bon dia, com estàs?", "si l'avi cau, diguem-ho", "pa & vi: bé"],
    "pl": ["Dzień dobry, jak się masz?"],
    "tr": ["Bu Türkçe, bir örnektir.", "ISPARTA İzmir"],
    "es": ["¿Dónde está la biblioteca?", "¡Está aquí!"],
    "el": ["Καλημέρα; τι κάνετε;", "Καλημέρα."],
}
"""Thirty sentences in words: what upstream's cleaners write out of them, they write out of no other."""
TEXTS = [(language, text) for language, texts in SENTENCES.items() for text in texts]


def config(**changes: Any) -> Any:
    shared = tts_module("TTS.tts.configs.shared_configs")
    made = tts_module("TTS.tts.configs.vits_config").VitsConfig()
    characters = changes.pop("characters", None)
    made.update(changes)
    if characters is not None:
        made.characters = shared.CharactersConfig(**characters)
    return made


VITS = {
    "characters_class": "TTS.tts.models.vits.VitsCharacters",
    "characters": LATIN + LATIN.upper() + "ακληέρτινεμσ",
    "punctuations": "!'(),-.:;? ",
    "pad": "_",
    "phonemes": "",
}
PLAIN = {
    "pad": "<PAD>",
    "eos": "<EOS>",
    "bos": "<BOS>",
    "blank": "<BLNK>",
    "characters": "zyxwvutsrqponmlkjihgfedcba",  # pragma: allowlist secret
    "punctuations": "!'(),-.:;? ",
    "is_unique": True,
    "is_sorted": True,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "VitsCharacters": {"characters": VITS, "add_blank": True},
    "VitsCharacters, a symbol twice": {"characters": VITS | {"characters": "abcabc defg"}},
    "Graphemes": {"characters": PLAIN, "add_blank": True},
    "Graphemes, with ends": {"characters": PLAIN, "enable_eos_bos_chars": True},
    "Graphemes, unsorted": {"characters": PLAIN | {"is_unique": False, "is_sorted": False}},
    "Graphemes, no marks": {"characters": PLAIN | {"pad": None, "eos": "", "bos": None}},
    "defaults": {},
}


def test_there_are_thirty_sentences() -> None:
    assert len(TEXTS) == 30


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("cleaner", ["multilingual_cleaners", "basic_cleaners", "no_cleaners"])
def test_ids_are_upstreams(name: str, cleaner: str) -> None:
    """All sentences, without exception; where nothing has a sound, ours has no ids at all."""
    of = config(text_cleaner=cleaner, **CONFIGS[name])
    tokenizer, _ = tts_module("TTS.tts.utils.text.tokenizer").TTSTokenizer.init_from_config(of)
    saved = of.to_dict()
    for language, text in TEXTS:
        reader = SymbolReader(Reading.of(reading(saved, [language])))
        wanted = tokenizer.text_to_ids(text, language)
        ids = reader.read(text, language).ids
        assert ids in (wanted, []), text
        assert ids or not any(map(str.isalpha, reader.known(text, language)))


@pytest.mark.parametrize("name", CONFIGS)
def test_vocabularies_are_upstreams(name: str) -> None:
    of = config(**CONFIGS[name])
    tokenizer, _ = tts_module("TTS.tts.utils.text.tokenizer").TTSTokenizer.init_from_config(of)
    assert vocabulary(of.to_dict())[0] == list(tokenizer.characters.vocab)


@pytest.mark.parametrize(
    "characters",
    [None, PLAIN | {"characters": "abc", "phonemes": "iyɨʉɯuɪʏʊ"}, PLAIN | {"is_unique": False}],
)
def test_the_vocabulary_of_phonemes_is_upstreams(characters: Any) -> None:
    of = config(characters=characters, use_phonemes=True)
    saved = of.to_dict()
    upstream, _ = tts_module("TTS.tts.utils.text.characters").IPAPhonemes().init_from_config(of)
    assert vocabulary(saved)[0] == list(upstream.vocab)


DIFFERENT = {
    "english_cleaners": "numbers, times and abbreviations are in words already",
    "french_cleaners": "abbreviations are in words already",
    "italian_cleaners": "numbers, times and abbreviations are in words already",
    "phoneme_cleaners": "numbers and abbreviations are in words already",
    "chinese_mandarin_cleaners": "numbers are in words already",
}
"""Cleaners of which steps are left out, and why; of a text in words they leave the same."""


@pytest.mark.parametrize("name", CLEANERS)
def test_cleaners_are_upstreams(name: str) -> None:
    upstream = getattr(tts_module("TTS.tts.utils.text.cleaners"), name)
    for language, text in TEXTS:
        assert clean(text, name, language) == upstream(text, lang=language)


@pytest.mark.parametrize("name", sorted(set(CLEANERS) - set(DIFFERENT)))
@given(text=st.text(max_size=60), language=st.sampled_from(["en", "fr", "ca", "el", "pt", "xx"]))
def test_cleaners_without_words_of_their_own_are_upstreams_for_any_text(
    name: str, text: str, language: str
) -> None:
    upstream = getattr(tts_module("TTS.tts.utils.text.cleaners"), name)
    assert clean(text, name, language) == upstream(text, lang=language)


def test_numbers_come_in_words_as_upstream_writes_them() -> None:
    upstream = tts_module("TTS.tts.utils.text.cleaners").english_cleaners
    text = "I have 42 cats and 3 dogs."
    assert clean(in_words(text, "en"), "english_cleaners", "en") == upstream(text, lang="en")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"text_cleaner": "uroman_cleaners"}, "'uroman_cleaners', which is not supported yet"),
        ({"use_phonemes": True, "phonemizer": "ja_jp_phonemizer"}, "'ja_jp_phonemizer', which"),
        ({"use_phonemes": True, "phoneme_language": "zh-cn"}, "'zh_cn_phonemizer', which"),
    ],
)
def test_what_cannot_be_read_here_is_refused_by_name(changes: Any, says: str) -> None:
    with pytest.raises(ExportFailed, match=says):
        reading(config(**changes).to_dict(), ["en"])


def test_each_language_has_its_phonemizer() -> None:
    of = {
        "use_phonemes": True,
        "phonemizer": "multi_phonemizer",
        "datasets": [
            {"language": "en-us", "phonemizer": "espeak"},
            {"language": "de", "phonemizer": "gruut"},
        ],
    }
    found = reading(of, ["de", "en-us"])["phonemizers"]
    assert found == {
        "de": {"name": "gruut", "voice": "de"},
        "en-us": {"name": "espeak", "voice": "en-us"},
    }
