"""Cloned voices on fakes: kept whole under any race, never served to another checkpoint, bad
recordings refused."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import threading
import wave
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voxturn.runtime import cli
from voxturn.runtime.audio.decode import decode_all
from voxturn.runtime.commands import say
from voxturn.runtime.errors import (
    AudioError,
    AudioNotFound,
    CorruptModel,
    EmptyAudio,
    EmptyText,
    InvalidProfile,
    InvalidSamples,
    ModelNotInstalled,
    OutputNotWritable,
    TextError,
    UnknownModel,
    UnknownStyle,
    UnknownVoice,
    UsageError,
    VoxturnError,
)
from voxturn.runtime.executors.fake import FakeGraph
from voxturn.runtime.families.xtts import voices
from voxturn.runtime.families.xtts.mel import hann_window, mel_filters
from voxturn.runtime.families.xtts.voices import (
    Cloner,
    Voice,
    VoiceStore,
    check_name,
    forget_voices,
)
from voxturn.runtime.models.manifest import MANIFEST, Manifest, ModelContract, sha256_of

from tests.cli_fakes import use_fakes
from tests.recordings import encoded, matroska, zeroed
from tests.voiced import voiced

WIDTH = 8
QUESTION = Path(__file__).parents[4] / "runtime" / "demo" / "question.wav"
CLONE = {
    "rate": 22050,
    "fft": 2048,
    "hop": 256,
    "gpt_cond_len": 12,
    "gpt_cond_chunk_len": 4,
    "max_ref_len": 10,
}
SPEAKER = {"rate": 16000, "fft": 512, "hop": 160}


def voice(name: str, value: float) -> Voice:
    return Voice(name, np.full((32, WIDTH), value, np.float32), np.full(512, value, np.float32))


def artifact(folder: Path, weights: bytes = b"weights", **changed: Any) -> tuple[Path, Manifest]:
    """What the voices need of an XTTS artifact: no graph of it runs."""
    folder.mkdir(parents=True, exist_ok=True)
    for role in ("conditioning", "speaker"):
        (folder / f"{role}.onnx.data").write_bytes(weights + role.encode())
    np.savez(
        folder / "voices.npz",
        **{
            f"Studio One/{kind}": value
            for kind, value in vars(voice("", 9.0)).items()
            if kind != "name"
        },
    )
    np.savez(
        folder / "mel.npz",
        clone_filters=mel_filters(22050, 2048, 80, 0.0, 8000.0),
        clone_window=hann_window(1024),
        clone_norms=np.ones(80, np.float32),
        speaker_filters=mel_filters(16000, 512, 64, 0.0, 8000.0),
        speaker_window=hann_window(400),
        speaker_emphasis=np.array([-0.97, 1.0], np.float32),
    )
    files = {path.name: sha256_of(path) for path in folder.iterdir() if path.name != MANIFEST}
    graphs = {
        f"{name}_encoder": ModelContract(f"{name}.onnx", (), ())
        for name in ("conditioning", "speaker")
    }
    properties = {"gpt_n_model_channels": WIDTH, "clone": CLONE, "speaker_encoder": SPEAKER}
    manifest = replace(
        Manifest("xtts-v2", "xtts", "fp32", {}, files, graphs, properties, synthetic=True),
        **changed,
    )
    (folder / MANIFEST).write_text(manifest.to_json())
    return folder, manifest


@pytest.fixture
def store(tmp_path: Path) -> VoiceStore:
    return VoiceStore(tmp_path / "home", *artifact(tmp_path / "artifact"))


def wav(path: Path, samples: np.ndarray, rate: int = 16000) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


# --- the store


def test_a_voice_comes_back_as_it_was_added(store: VoiceStore, tmp_path: Path) -> None:
    recording = wav(tmp_path / "a.wav", voiced(1.0))
    store.add(voice("Ana María 2", 0.5), [recording])
    found, noted = store.read("Ana María 2")
    np.testing.assert_array_equal(found.latents, voice("", 0.5).latents)
    np.testing.assert_array_equal(found.speaker, voice("", 0.5).speaker)
    assert noted["recordings"] == [sha256_of(recording)]
    assert store.names() == {"Ana María 2": "added", "Studio One": "studio"}
    assert found.key == voice("x", 0.5).key != voice("x", 0.25).key


def test_a_voice_added_again_is_replaced_and_one_removed_is_gone(store: VoiceStore) -> None:
    for value in (1.0, 2.0):
        store.add(voice("a", value))
        assert store.load("a").latents[0, 0] == value
    store.remove("a")
    with pytest.raises(
        UnknownVoice, match="no voice 'a' for this checkpoint; here: Studio One; add one with"
    ):
        store.load("a")
    with pytest.raises(UnknownVoice):
        store.remove("a")


def test_voices_of_all_checkpoints_are_forgotten_by_how_their_names_begin(tmp_path: Path) -> None:
    home, stores = tmp_path / "home", []
    for name in ("one", "two"):
        store = VoiceStore(home, *artifact(tmp_path / name, weights=name.encode()))
        for each in ("ana-1", "ana-2", "ben-1"):
            store.add(voice(each, 1.0))
        store.add(voice("ana-1", 2.0), style="happy")
        stores.append(store)
    assert forget_voices(home, "ana-") == 4
    for store in stores:
        assert set(store.names()) == {"ben-1", "Studio One"}
        store.add(voice("ana-1", 1.0))
        assert store.styles("ana-1") == ()
    assert forget_voices(tmp_path / "none", "ana-") == 0


def test_a_voice_of_ones_own_hides_the_studios_until_it_is_removed(store: VoiceStore) -> None:
    with pytest.raises(UsageError, match="belongs to the checkpoint and cannot be removed"):
        store.remove("Studio One")
    store.add(voice("Studio One", 1.0))
    assert store.load("Studio One").speaker[0] == 1.0
    store.remove("Studio One")
    assert store.load("Studio One").speaker[0] == 9.0


def test_a_changed_checkpoint_never_gets_a_stale_voice(tmp_path: Path) -> None:
    home = tmp_path / "home"
    first = VoiceStore(home, *artifact(tmp_path / "one"))
    first.add(voice("Ana", 1.0))
    same = VoiceStore(home, *artifact(tmp_path / "two"))
    assert same.load("Ana").latents[0, 0] == 1.0
    other = VoiceStore(home, *artifact(tmp_path / "three", weights=b"other weights"))
    assert "Ana" not in other.names()
    with pytest.raises(UnknownVoice):
        other.load("Ana")
    (stored,) = (home / "voices").glob("*/Ana.npz")
    moved = home / "voices" / other.checkpoint / "Ana.npz"
    moved.parent.mkdir()
    moved.write_bytes(stored.read_bytes())
    with pytest.raises(CorruptModel, match="not whole"):
        other.load("Ana")


@pytest.mark.parametrize(
    ("key", "changed"), [("clone", {"max_ref_len": 30}), ("speaker_encoder", {"hop": 100})]
)
def test_other_settings_for_cloning_are_another_checkpoint(
    tmp_path: Path, key: str, changed: dict[str, Any]
) -> None:
    folder, manifest = artifact(tmp_path / "one")

    def checkpoint(settings: dict[str, Any]) -> str:
        return VoiceStore(
            tmp_path, folder, replace(manifest, properties=dict(manifest.properties) | settings)
        ).checkpoint

    was = manifest.properties[key]
    assert checkpoint({key: dict(reversed(was.items()))}) == checkpoint({})
    assert checkpoint({key: was | changed}) != checkpoint({})


def test_other_mel_constants_are_another_checkpoint(tmp_path: Path) -> None:
    folder, manifest = artifact(tmp_path / "one")
    other = replace(manifest, files=dict(manifest.files) | {"mel.npz": "0" * 64})
    assert (
        VoiceStore(tmp_path, folder, manifest).checkpoint
        != VoiceStore(tmp_path, folder, other).checkpoint
    )


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 short", b"x" * 500])
def test_a_damaged_voice_is_refused_and_can_be_added_again(
    store: VoiceStore, tmp_path: Path, damage: bytes
) -> None:
    store.add(voice("a", 1.0))
    (path,) = (tmp_path / "home").rglob("a.npz")
    path.write_bytes(damage)
    with pytest.raises(CorruptModel, match=r"a\.npz: cannot be read .*; add it again"):
        store.load("a")
    store.add(voice("a", 2.0))
    assert store.load("a").latents[0, 0] == 2.0


def test_values_that_were_changed_are_noticed(store: VoiceStore, tmp_path: Path) -> None:
    store.add(voice("a", 1.0))
    (path,) = (tmp_path / "home").rglob("a.npz")
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays["latents"][0, 0] = 3.0
    np.savez(path, **arrays)
    with pytest.raises(CorruptModel, match="its hash is not the noted one"):
        store.load("a")
    np.savez(path, latents=arrays["latents"])
    with pytest.raises(CorruptModel, match="not whole"):
        store.load("a")


def test_studio_voices_that_are_damaged_are_said(store: VoiceStore, tmp_path: Path) -> None:
    (tmp_path / "artifact" / "voices.npz").write_bytes(b"noise")
    with pytest.raises(CorruptModel, match=r"voices\.npz: cannot be read .*; pull the model again"):
        store.names()
    store.add(voice("a", 1.0))
    assert store.load("a").latents[0, 0] == 1.0


@pytest.mark.parametrize(
    "bad",
    [
        Voice("a", np.ones((32, WIDTH + 1), np.float32), np.ones(512, np.float32)),
        Voice("a", np.ones((32, WIDTH), np.float32), np.ones(511, np.float32)),
        Voice("a", np.full((32, WIDTH), np.nan, np.float32), np.ones(512, np.float32)),
    ],
)
def test_a_voice_of_another_shape_or_of_no_numbers_is_not_kept(
    store: VoiceStore, bad: Voice
) -> None:
    with pytest.raises(CorruptModel, match="voice 'a' does not fit the checkpoint"):
        store.add(bad)
    assert list(store.names()) == ["Studio One"]


# --- styles


def test_styles_are_kept_beside_the_voice_and_go_with_it(store: VoiceStore, tmp_path: Path) -> None:
    recording = wav(tmp_path / "a.wav", voiced(1.0))
    for value, style in ((1.0, ""), (2.0, "happy"), (3.0, "sad"), (4.0, "happy")):
        store.add(voice("a", value), [recording], style=style)
    assert store.styles("a") == ("happy", "sad")
    assert [store.load("a", s).latents[0, 0] for s in ("", "happy", "Sad")] == [1.0, 4.0, 3.0]
    assert store.read("a", "happy")[1]["recordings"] == [sha256_of(recording)]
    assert store.names() == {"Studio One": "studio", "a": "added"}
    store.add(voice("a", 5.0))
    assert store.styles("a") == ("happy", "sad")
    store.remove("a", "happy")
    assert store.styles("a") == ("sad",)
    store.remove("a")
    store.add(voice("a", 6.0))
    assert store.styles("a") == ()
    assert sum(path.is_file() for path in (tmp_path / "home").rglob("*")) == 1


def test_a_voice_that_was_kept_before_there_were_styles_is_read(
    store: VoiceStore, tmp_path: Path
) -> None:
    old = voice("a", 1.0)
    noted = {"name": "a", "checkpoint": store.checkpoint, "from": "recordings", "recordings": []}
    noted["sha256"] = hashlib.sha256(old.latents.tobytes() + old.speaker.tobytes()).hexdigest()
    path = tmp_path / "home" / "voices" / store.checkpoint / "a.npz"
    path.parent.mkdir(parents=True)
    note = np.frombuffer(json.dumps(noted).encode(), np.uint8)
    np.savez(path, latents=old.latents, speaker=old.speaker, note=note)
    assert store.read("a")[1] == noted
    store.add(voice("a", 2.0), style="happy")
    assert [store.load("a", style).latents[0, 0] for style in ("", "happy")] == [1.0, 2.0]


def test_a_style_needs_its_voice_and_an_unknown_one_is_refused_with_those_that_are_there(
    store: VoiceStore, tmp_path: Path
) -> None:
    with pytest.raises(UnknownVoice, match="no voice 'a' to have a style; add it first"):
        store.add(voice("a", 1.0), style="happy")
    for action in (store.load, store.remove):
        with pytest.raises(UnknownVoice, match="no voice 'a'"):
            action("a", "happy")
    assert not (tmp_path / "home").exists()
    store.add(voice("Studio One", 1.0), style="happy")
    for action in (store.load, store.remove):
        with pytest.raises(
            UnknownStyle, match="voice 'Studio One' has no style 'sad'; it has happy;"
        ):
            action("Studio One", "sad")
    assert store.load("Studio One").latents[0, 0] == 9.0
    store.remove("Studio One", "happy")
    with pytest.raises(UnknownStyle, match="it has none"):
        store.load("Studio One", "happy")


@pytest.mark.parametrize("style", ["../up", "a/b", "Happy", "x", ".hidden", "default", "a\x00b"])
def test_a_style_is_no_path(store: VoiceStore, tmp_path: Path, style: str) -> None:
    store.add(voice("a", 1.0))
    with pytest.raises(UsageError, match="style "):
        store.add(voice("a", 2.0), style=style)
    assert store.styles("a") == ()
    assert sum(path.is_file() for path in (tmp_path / "home").rglob("*")) == 1


def test_a_voice_has_so_many_styles_at_most(
    store: VoiceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voices, "_MOST_STYLES", 2)
    for style in ("", "one", "two", "one"):
        store.add(voice("a", 1.0), style=style)
    with pytest.raises(UsageError, match="has 2 styles, more than it can have"):
        store.add(voice("a", 1.0), style="three")


def test_a_damaged_style_is_refused_by_its_file(store: VoiceStore, tmp_path: Path) -> None:
    store.add(voice("a", 1.0))
    store.add(voice("a", 2.0), style="happy")
    (path,) = (tmp_path / "home").rglob("happy.npz")
    path.write_bytes(b"x" * 500)
    with pytest.raises(CorruptModel, match=r"happy\.npz: cannot be read .*; add it again"):
        store.load("a", "happy")
    assert store.load("a").latents[0, 0] == 1.0


def test_a_stamp_changes_with_every_change(store: VoiceStore) -> None:
    stamps = [store.stamp("a")]
    store.add(voice("a", 1.0))
    stamps.append(store.stamp("a"))
    store.add(voice("b", 1.0))
    assert store.stamp("a") == stamps[-1]
    store.add(voice("a", 1.0), style="happy")
    stamps.append(store.stamp("a"))
    store.add(voice("a", 2.0), style="happy")
    stamps.append(store.stamp("a"))
    store.add(voice("a", 2.0))
    stamps.append(store.stamp("a"))
    store.remove("a", "happy")
    stamps.append(store.stamp("a"))
    assert all(one != other for one, other in pairwise(stamps))


TRICKS = [
    "",
    ".",
    "..",
    "../a",
    "a/b",
    "/etc/passwd",
    ".hidden",
    "a..b",
    "a\x00b",
    "a\nb",
    "-rf",
    "a" * 65,
    "𓀀" * 64,
    "a\\b",
    "a+b",
    "a:1",
]


@pytest.mark.parametrize("name", TRICKS)
def test_a_name_is_no_path(store: VoiceStore, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="voice name"):
        check_name(name)
    with pytest.raises(UsageError):
        store.add(voice(name, 1.0))
    for action in (store.load, store.remove):
        with pytest.raises(UnknownVoice):
            action(name)
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    "name", ["Ana", "Claribel Dervla", "Eugenio Mataracı", "علي", "小明", "v1.2-b", "7", "a" * 64]
)
def test_names_that_are_good(store: VoiceStore, name: str) -> None:
    store.add(voice(name, 1.0))
    assert store.load(name).name == name
    assert name in store.names()


def test_a_folder_that_cannot_be_written_is_said(store: VoiceStore, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where the folder should be")
    with pytest.raises(OutputNotWritable, match=r"a\.npz: cannot be written"):
        store.add(voice("a", 1.0))


def _add_often(root: Path, folder: Path, value: float) -> None:
    store = VoiceStore(root, folder, Manifest.read(folder))
    for _ in range(25):
        store.add(voice("shared", value))


def whole(found: Voice) -> bool:
    values = {float(v) for v in (*np.unique(found.latents), *np.unique(found.speaker))}
    return len(values) == 1


@pytest.mark.slow
def test_many_threads_adding_one_name_leave_one_whole_voice_at_every_moment(
    store: VoiceStore, tmp_path: Path
) -> None:
    store.add(voice("shared", 0.0))
    folder, ended, failures = tmp_path / "artifact", threading.Event(), list[Exception]()

    def read() -> None:
        while not ended.is_set():
            try:
                assert whole(store.load("shared"))
                assert "shared" in store.names()
            except Exception as exc:  # noqa: BLE001  seen by the test's thread
                failures.append(exc)
                return

    def add(value: float) -> None:
        try:
            _add_often(tmp_path / "home", folder, value)
        except Exception as exc:  # noqa: BLE001  seen by the test's thread
            failures.append(exc)

    readers = [threading.Thread(target=read) for _ in range(2)]
    writers = [threading.Thread(target=add, args=(float(i),)) for i in range(1, 5)]
    for thread in (*readers, *writers):
        thread.start()
    for thread in writers:
        thread.join(60)
    ended.set()
    for thread in readers:
        thread.join(60)
    assert not failures
    assert [path.name for path in (tmp_path / "home").rglob("*") if path.is_file()] == [
        "shared.npz"
    ]


@pytest.mark.slow
def test_many_processes_adding_one_name_leave_one_whole_voice(
    store: VoiceStore, tmp_path: Path
) -> None:
    spawn = multiprocessing.get_context("spawn")
    arguments = (tmp_path / "home", tmp_path / "artifact")
    processes = [spawn.Process(target=_add_often, args=(*arguments, float(i))) for i in (1, 2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert whole(store.load("shared"))
    assert [path.name for path in (tmp_path / "home").rglob("*") if path.is_file()] == [
        "shared.npz"
    ]


# --- the cloner, on fakes


@pytest.fixture
def cloner(tmp_path: Path) -> Cloner:
    def conditioning(inputs: dict[str, Any]) -> dict[str, Any]:
        return {"latents": np.full((1, 32, WIDTH), inputs["mel"].shape[2], np.float32)}

    def speaker(inputs: dict[str, Any]) -> dict[str, Any]:
        return {"embedding": np.full((1, 512), inputs["mel"].mean(), np.float32)}

    folder, manifest = artifact(tmp_path / "artifact")
    return Cloner(folder, manifest.properties, FakeGraph(conditioning), FakeGraph(speaker))


def test_few_seconds_are_warned_of_and_many_are_not(cloner: Cloner, tmp_path: Path) -> None:
    short, long = wav(tmp_path / "short.wav", voiced(1.5)), wav(tmp_path / "long.wav", voiced(4.0))
    added = cloner.clone("a", [short])
    assert added.warnings == ("only 1.5 s of speech; 3 s or more clone better",)
    assert cloner.clone("a", [long]).warnings == ()
    assert cloner.clone("a", [short, short]).seconds == pytest.approx(3.0, abs=0.1)


def test_of_long_recordings_as_much_is_heeded_in_such_pieces_as_the_checkpoint_says(
    cloner: Cloner, tmp_path: Path
) -> None:
    def frames(seconds: float) -> float:
        return seconds * 22050 // 256 + 1

    one = cloner.clone("a", [wav(tmp_path / "long.wav", voiced(9.0))])
    assert one.voice.latents[0, 0] == pytest.approx(
        np.mean([frames(4), frames(4), frames(1)]), abs=0.5
    )
    longer = cloner.clone("a", [wav(tmp_path / "longer.wav", voiced(13.0))])
    assert longer.seconds == pytest.approx(10.0)  # of each recording
    assert longer.voice.latents[0, 0] == pytest.approx(
        np.mean([frames(4), frames(4), frames(2)]), abs=0.5
    )
    both = cloner.clone("a", [tmp_path / "long.wav", tmp_path / "longer.wav"])
    assert both.voice.latents[0, 0] == pytest.approx(frames(4), abs=0.5)  # 12 s of both


def test_of_a_very_long_recording_the_beginning_is_heard(
    cloner: Cloner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voices, "_LONGEST_S", 4)
    path = wav(tmp_path / "long.wav", voiced(9.0))
    added = cloner.clone("a", [path])
    assert added.seconds == pytest.approx(4.0, abs=0.1)
    assert added.warnings == (f"{path}: is long; its first 4 s were heard",)


def nan_wav(path: Path) -> Path:
    samples = np.full(16000, np.nan, "<f4").tobytes()
    header = (
        b"RIFF"
        + (36 + len(samples)).to_bytes(4, "little")
        + b"WAVEfmt "
        + (16).to_bytes(4, "little")
    )
    header += (
        b"\x03\x00\x01\x00"
        + (16000).to_bytes(4, "little")
        + (64000).to_bytes(4, "little")
        + b"\x04\x00\x20\x00"
    )
    path.write_bytes(header + b"data" + len(samples).to_bytes(4, "little") + samples)
    return path


def test_recordings_that_cannot_be_cloned(cloner: Cloner, tmp_path: Path) -> None:
    good = wav(tmp_path / "good.wav", voiced(4.0))
    bad: list[tuple[Path, type[VoxturnError], str]] = [
        (
            wav(tmp_path / "silent.wav", np.zeros(48000)),
            AudioError,
            r"silent\.wav: holds 0\.00 s of speech in 3\.00 s",
        ),
        (
            wav(tmp_path / "short.wav", voiced(0.4)),
            AudioError,
            r"short\.wav: holds 0\.40 s of speech in 0\.40 s; 1 s",
        ),
        (
            wav(tmp_path / "click.wav", voiced(0.1, 2.0)),
            AudioError,
            r"holds 0\.1. s of speech in 2\.10 s",
        ),
        (nan_wav(tmp_path / "nan.wav"), InvalidSamples, r"nan\.wav: has NaN or infinite samples"),
        (tmp_path / "none.wav", AudioNotFound, "no such audio file"),
    ]
    (tmp_path / "empty.wav").write_bytes(b"")
    bad.append((tmp_path / "empty.wav", EmptyAudio, "is empty"))
    for path, kind, says in bad:
        for recordings in ([path], [good, path]):
            with pytest.raises(kind, match=says) as caught:
                cloner.clone("a", recordings)
            assert type(caught.value) is kind
    with pytest.raises(UsageError, match="needs at least one recording"):
        cloner.clone("a", [])
    with pytest.raises(UsageError, match="voice name"):
        cloner.clone("../a", [good])


def not_speech() -> dict[str, np.ndarray]:
    """Sounds that are loud and even, or swell, or change twice a second."""
    t, random = np.arange(64000) / 16000, np.random.default_rng(1)
    noise = random.standard_normal(t.size)
    slow = np.convolve(noise, np.ones(40) / 40, "same")
    melody = np.repeat(220 * 2 ** (random.choice([0, 2, 4, 5, 7, 9, 11, 12], 8) / 12), 8000)
    sounds = {
        "white": noise,
        "brown": slow / slow.std(),
        "swelling": noise * (1 + 0.95 * np.sin(2 * np.pi * 4 * t)),
        "hum": sum(np.sin(2 * np.pi * 50 * k * t) / k for k in range(1, 20)),
        "tone": np.sin(2 * np.pi * 220 * t),
        "chord": sum(np.sin(2 * np.pi * f * t) for f in (220, 277, 330)),
        "melody": sum(np.sin(2 * np.pi * np.cumsum(melody * k) / 16000) / k for k in range(1, 6)),
    }
    return {name: 0.5 * sound / np.abs(sound).max() for name, sound in sounds.items()}


NOT_SPEECH = not_speech()


@pytest.mark.parametrize("name", NOT_SPEECH)
def test_a_recording_of_something_else_than_speech_is_refused(
    cloner: Cloner, tmp_path: Path, name: str
) -> None:
    path = wav(tmp_path / f"{name}.wav", NOT_SPEECH[name])
    with pytest.raises(
        AudioError, match=rf"{name}\.wav: holds no speech, its sound is as even as noise or music"
    ):
        cloner.clone("a", [path])


@pytest.mark.parametrize("noise_db", [None, -10])
def test_real_speech_is_cloned_even_in_noise(
    cloner: Cloner, tmp_path: Path, noise_db: float | None
) -> None:
    samples = decode_all(QUESTION, 16000)
    random = np.random.default_rng(2).standard_normal(samples.size)
    if noise_db is not None:
        samples = samples + random * np.sqrt((samples**2).mean() * 10 ** (noise_db / 10))
    assert cloner.clone("a", [wav(tmp_path / "speech.wav", samples)]).seconds > 1


def test_sound_that_only_the_higher_rate_has_is_no_speech(cloner: Cloner, tmp_path: Path) -> None:
    """Above 8 kHz the speaker encoder hears nothing: its clip is empty."""
    t = np.arange(44100 * 2) / 44100
    with pytest.raises(AudioError, match=r"high\.wav: holds no speech"):
        cloner.clone("a", [wav(tmp_path / "high.wav", 0.5 * np.sin(2 * np.pi * 9500 * t), 44100)])


def test_silence_inside_a_recording_is_no_speech(cloner: Cloner, tmp_path: Path) -> None:
    part = voiced(2.0)
    gap = wav(tmp_path / "gap.wav", np.concatenate([part, np.zeros(8 * 16000), part]))
    assert cloner.clone("a", [gap]).seconds == pytest.approx(4.0, abs=0.1)


@pytest.mark.parametrize("dbfs", [-20, -56])
def test_quiet_speech_is_kept_whole(cloner: Cloner, tmp_path: Path, dbfs: float) -> None:
    speech = voiced(6.0)
    level = 10 ** (dbfs / 20) / np.sqrt((speech**2).mean())
    added = cloner.clone("a", [wav(tmp_path / "quiet.wav", speech * level)])
    assert added.seconds == pytest.approx(6.0, abs=0.1)
    assert added.warnings == ()


def test_clipped_noisy_and_damaged_recordings_are_warned_of(cloner: Cloner, tmp_path: Path) -> None:
    speech = np.tile(decode_all(QUESTION, 16000), 4)
    noise = np.random.default_rng(0).standard_normal(speech.size)
    noisy = speech + noise * np.sqrt((speech**2).mean() * 0.1)
    clipped = np.clip(speech / np.abs(speech).max() * 5, -1, 1)
    for name, samples, says in (("noisy", noisy, "is noisy"), ("clipped", clipped, "is clipped")):
        path = wav(tmp_path / f"{name}.wav", samples)
        (warning,) = cloner.clone("a", [path]).warnings
        assert warning.startswith(f"{path}: {says}")
    damaged = tmp_path / "damaged.mp3"
    damaged.write_bytes(
        zeroed(encoded("mp3", 22050, np.tile(voiced(1.0, rate=22050), 5)[None]), 0.5, 3000)
    )
    (warning,) = cloner.clone("a", [damaged]).warnings
    assert warning.startswith(f"{damaged}: damaged: 1 packet could not be decoded, 0.")


def test_the_track_and_an_inverted_channel_are_heeded(cloner: Cloner, tmp_path: Path) -> None:
    path, speech = tmp_path / "tracks.mkv", voiced(4.0)
    path.write_bytes(matroska(speech[: 2 * 16000], speech, default=1))
    assert cloner.clone("a", [path]).seconds == pytest.approx(4.0, abs=0.1)
    assert cloner.clone("a", [path], track=1).seconds == pytest.approx(2.0, abs=0.1)
    with pytest.raises(UsageError, match="has no audio track 3; it has 1 "):
        cloner.clone("a", [path], track=3)
    inverted = tmp_path / "inverted.flac"
    inverted.write_bytes(encoded("flac", 16000, np.stack([speech, -speech])))
    assert cloner.clone("a", [inverted]).seconds == pytest.approx(4.0, abs=0.1)


# --- the command line


def fails(
    capsys: pytest.CaptureFixture[str], arguments: list[str], kind: type[VoxturnError], says: str
) -> None:
    with pytest.raises(kind, match=says) as caught:
        cli.main(["--debug", *arguments])
    assert type(caught.value) is kind
    capsys.readouterr()
    assert cli.main(arguments) == kind.exit_code
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"voxturn: {' '.join(str(caught.value).split())}"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VOXTURN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.usefixtures("home")
def test_the_voices_of_an_artifact_are_listed_shown_and_removed(
    store: VoiceStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["--model", str(tmp_path / "artifact")]
    store.add(voice("Ana", 1.0))
    assert cli.main(["voices", "list", *model]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["Ana", "added"],
        ["Studio", "One", "studio"],
    ]
    assert cli.main(["voices", "show", "Ana", *model]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["name"], shown["latents"], shown["checkpoint"]) == (
        "Ana",
        [32, WIDTH],
        store.checkpoint,
    )
    assert cli.main(["voices", "show", "Studio One", *model]) == 0
    assert json.loads(capsys.readouterr().out)["from"] == "studio"
    store.add(voice("Ana", 2.0), style="happy")
    assert cli.main(["voices", "list", *model]) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["Ana", "added", "happy"]
    assert cli.main(["voices", "show", "Ana", *model]) == 0
    assert json.loads(capsys.readouterr().out)["styles"] == ["happy"]
    assert cli.main(["voices", "show", "Ana", "--style", "happy", *model]) == 0
    assert json.loads(capsys.readouterr().out)["style"] == "happy"
    fails(
        capsys,
        ["voices", "remove", "Ana", "--style", "sad", *model],
        UnknownStyle,
        "has no style 'sad'; it has happy",
    )
    assert cli.main(["voices", "remove", "Ana", "--style", "happy", *model]) == 0
    assert store.styles("Ana") == ()
    assert cli.main(["voices", "remove", "Ana", *model]) == 0
    fails(
        capsys, ["voices", "show", "Ana", *model], UnknownVoice, "no voice 'Ana'.*here: Studio One"
    )
    fails(capsys, ["voices", "remove", "Ana", *model], UnknownVoice, "no voice 'Ana'")
    fails(capsys, ["voices", "remove", "Studio One", *model], UsageError, "cannot be removed")
    for name in ("../up", "a+b", "a:1"):
        fails(capsys, ["voices", "add", name, "a.wav", *model], UsageError, "voice name ")
    nobody = ["voices", "add", "nobody", "a.wav", "--style", "happy", *model]
    fails(capsys, nobody, UnknownVoice, "no voice 'nobody' to have a style")
    fails(capsys, [*nobody[:-3], "a/b", *model], UsageError, "style 'a/b'")


@pytest.mark.usefixtures("home")
def test_an_artifact_that_is_none_or_of_another_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, manifest = artifact(tmp_path / "artifact", kind="vits")
    no_speakers = "a voice of kind 'vits' has no speakers of one's own"
    no_graph = r"speak: .* \(vits\) has no graph for ONNX Runtime; export it with --for onnx"
    for command, error, wrong in (
        (["voices", "list"], UsageError, no_speakers),
        (["voices", "add", "Ana", "a.wav"], UsageError, no_speakers),
        (["say", "Hi.", "-o", str(tmp_path / "a.wav")], InvalidProfile, no_graph),
    ):
        fails(capsys, [*command, "--model", str(folder)], error, wrong)
        fails(
            capsys,
            [*command, "--model", str(tmp_path / "none")],
            ModelNotInstalled,
            "none: no artifact here",
        )
        fails(capsys, [*command, "--model", "xtts-v3"], UnknownModel, "did you mean 'xtts-v2'")
        fails(
            capsys,
            [*command, "--model", "xtts-v2"],
            ModelNotInstalled,
            "run `voxturn models pull xtts-v2",
        )
    fails(capsys, ["voices", "list"], ModelNotInstalled, "run `voxturn models pull xtts-v2")
    (folder / MANIFEST).write_text(json.dumps(json.loads(manifest.to_json()) | {"format": 99}))
    fails(
        capsys,
        ["voices", "list", "--model", str(folder)],
        CorruptModel,
        "written by another version",
    )
    folder, _ = artifact(tmp_path / "artifact")
    (folder / "mel.npz").unlink()
    fails(capsys, ["voices", "list", "--model", str(folder)], CorruptModel, r"lacks mel\.npz")
    assert not (tmp_path / "a.wav").exists()


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    use_fakes(monkeypatch, tmp_path_factory.mktemp("home"))


def lines_of(tmp_path: Path, text: str) -> list[str]:
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / "lines.txt").write_bytes(text.encode("utf-8", "surrogateescape"))
    return ["say", "--batch", str(tmp_path / "lines.txt"), "-o", str(tmp_path / "out")]


@pytest.mark.usefixtures("fakes")
def test_a_batch_is_a_file_a_line_each_as_its_line_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = ["Hello there.", "How are you today? Fine, I hope.", "Bye."]
    assert cli.main(lines_of(tmp_path, f"{said[0]}\n\n{said[1]}\n  {said[2]}  \n")) == 0
    out = capsys.readouterr().out.split()
    assert sorted(Path(line).name for line in out) == ["001.wav", "003.wav", "004.wav"]
    for line, number in zip(said, ("001", "003", "004"), strict=True):
        assert cli.main(["say", line, "-o", str(tmp_path / "alone.wav")]) == 0
        assert (tmp_path / "alone.wav").read_bytes() == (
            tmp_path / "out" / f"{number}.wav"
        ).read_bytes()


@pytest.mark.usefixtures("fakes")
def test_a_batch_that_cannot_be_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fails(
        capsys,
        lines_of(tmp_path, "\n \n"),
        EmptyText,
        r"lines\.txt: has no line that can be spoken",
    )
    fails(
        capsys,
        lines_of(tmp_path, "Hi.\n🙂\n"),
        EmptyText,
        r"lines\.txt: line 2 has nothing that can be spoken",
    )
    fails(capsys, lines_of(tmp_path, "Hi.\n\udcff\n"), TextError, "is not UTF-8 text")
    assert not (tmp_path / "out").exists()
    command = lines_of(tmp_path, "Hi.\n")
    fails(
        capsys,
        [*command[:2], str(tmp_path / "none.txt"), *command[3:]],
        TextError,
        r"none\.txt: cannot be read",
    )
    fails(capsys, [*command[:-1], "-"], UsageError, "--batch writes WAV files into a folder")
    fails(
        capsys,
        [*command[:-1], str(tmp_path / "lines.txt")],
        OutputNotWritable,
        "is not a folder and cannot be made",
    )
    fails(capsys, [*command, "--slots", "0"], UsageError, "--slots 0: must be 1 or more")
    fails(capsys, [*command, "Hello."], UsageError, "a text or --batch FILE, one of them")
    fails(capsys, ["say", "-o", "a.wav"], UsageError, "a text or --batch FILE, one of them")


@pytest.mark.usefixtures("fakes")
def test_options_of_xtts_are_refused_by_another_voice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["say", "Hello.", "-o", str(tmp_path / "a.wav")]
    for option in (
        "--temperature=0.5",
        "--top-k=5",
        "--top-p=0.5",
        "--repetition-penalty=2",
        "--no-guard",
    ):
        name = option.split("=")[0]
        fails(capsys, [*command, option], UsageError, f"{name}: this voice has no such option")
    fails(capsys, [*command, "--slots=2"], UsageError, "--slots goes with --batch")
    batch = [*lines_of(tmp_path / "lines", "Hello."), "--slots=2"]
    fails(capsys, batch, UsageError, "--slots: this voice has no such option")
    assert cli.main([*command, "--seed", "3"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"a.wav", "lines"}
    assert not (tmp_path / "lines/out/001.wav").exists()


@pytest.mark.usefixtures("fakes")
def test_a_failure_in_a_batch_stops_the_others_and_leaves_no_part_of_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = lines_of(tmp_path, "One is spoken.\nTwo fails.\nThree is never begun.\n")
    (tmp_path / "out" / "002.wav").mkdir(parents=True)
    monkeypatch.setattr(say, "_LINES_AT_ONCE", 1)
    fails(capsys, command, OutputNotWritable, r"002\.wav: is a folder")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["001.wav", "002.wav"]


def test_studio_voices_are_read_once_and_again_where_their_file_is_another(
    store: VoiceStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.names() == {"Studio One": "studio"}
    with monkeypatch.context() as patch:
        patch.setattr(voices, "read_arrays", lambda path: pytest.fail("it was read again"))
        assert store.names() == {"Studio One": "studio"}
    studio = tmp_path / "artifact" / "voices.npz"
    np.savez(
        studio.with_name("new.npz"),
        **{
            f"{name}/{kind}": value
            for name in ("One", "Two")
            for kind, value in vars(voice("", 1.0)).items()
            if kind != "name"
        },
    )
    studio.with_name("new.npz").replace(studio)
    assert list(store.names()) == ["One", "Two"]
    studio.unlink()
    assert store.names() == {}


def test_what_is_said_about_a_voice_is_noted_with_it(store: VoiceStore) -> None:
    store.add(voice("a", 1.0), about={"name": "Ana", "consent": "true"})
    assert store.read("a")[1]["about"] == {"name": "Ana", "consent": "true"}
    store.add(voice("b", 1.0))
    assert "about" not in store.read("b")[1]
