"""XTTS checkpoints as they come: official pickles, hostile ones, damaged ones; what an export
leaves behind."""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from voxturn.export.coqui import modules as coqui
from voxturn.export.weights import Weights, weight_norm_names
from voxturn.export.xtts import export as xtts
from voxturn.export.xtts import graphs as xtts_graphs
from voxturn.export.xtts.checkpoint import TRAINING_ONLY, XttsCheckpoint, read_speakers
from voxturn.runtime import cli
from voxturn.runtime.errors import CorruptModel, ExportFailed, VoxturnError
from voxturn.runtime.families.xtts.prompt import XttsIds
from voxturn.runtime.families.xtts.text import XttsTokenizer
from voxturn.runtime.models.manifest import Manifest, sha256_of
from voxturn.runtime.models.store import Store

from tests.failed_downloads import LFS_POINTER, WEB_PAGE
from tests.tiny.conftest import Tiny

pytestmark = pytest.mark.filterwarnings("ignore")  # coqui-tts and what it imports
State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def state(tiny: Tiny) -> State:
    loaded: State = torch.load(tiny.checkpoint / "model.pth", weights_only=True)["model"]
    return loaded


@pytest.fixture
def folder(tiny: Tiny, state: State, tmp_path: Path) -> Path:
    """A checkpoint whose tensors have one value each, in all their places."""
    target = tmp_path / "checkpoint"
    target.mkdir()
    for name in ("config.json", "vocab.json", "speakers_xtts.pth"):
        (target / name).write_bytes((tiny.checkpoint / name).read_bytes())
    torch.save({"model": hollow(state)}, target / "model.pth")
    return target


def hollow(state: State) -> State:
    return {name: torch.zeros(()).expand(value.shape) for name, value in state.items()}


def test_every_parameter_is_consumed_or_the_trainings(tiny: Tiny, state: State) -> None:
    opened = XttsCheckpoint.open(tiny.checkpoint)
    wanted = xtts.shapes(opened.args, opened.weights)
    assert wanted == {
        name: tuple(value.shape) for name, value in state.items() if not TRAINING_ONLY.match(name)
    }
    opened.weights.check(wanted)


def test_shapes_follow_the_sizes(folder: Path) -> None:
    sizes = {
        "gpt_layers": 1, "gpt_n_model_channels": 96, "gpt_n_heads": 4, "decoder_input_dim": 96,
        "gpt_number_text_tokens": 99, "gpt_start_text_token": 1, "gpt_max_text_tokens": 50, "gpt_max_audio_tokens": 70,
    }  # fmt: skip
    model = coqui.build(sizes)
    torch.save({"model": hollow(model.state_dict())}, folder / "model.pth")
    forgotten = {key: sizes[key] for key in sizes if "max" not in key and "text" not in key}
    edit(folder / "config.json", lambda c: c | {"model_args": c["model_args"] | forgotten})
    opened = XttsCheckpoint.open(folder)
    assert (opened.args.gpt_number_text_tokens, opened.args.gpt_num_audio_tokens) == (99, 1026)
    assert (opened.args.gpt_max_text_tokens, opened.args.gpt_max_audio_tokens) == (
        50,
        70,
    )  # whatever config.json says
    opened.weights.check(xtts.shapes(opened.args, opened.weights))
    assert XttsIds.from_properties(vars(opened.args) | {"id_stride": 1 << 16}).max_text == 50


def test_all_misshapen_parameters_are_named_at_once(
    folder: Path, state: State, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = hollow(state)
    wrong = {
        "gpt.mel_pos_embedding.emb.weight": (608, 65),
        "gpt.gpt.h.1.mlp.c_fc.bias": (255,),
        "gpt.conditioning_perceiver.layers.0.1.0.weight": (342, 64),
        "hifigan_decoder.speaker_encoder.fc.weight": (512, 4095),
        "hifigan_decoder.waveform_decoder.ups.2.parametrizations.weight.original1": (128, 64, 8),
        "hifigan_decoder.waveform_decoder.ups.1.parametrizations.weight.original0": (1, 1, 1),
        "mel_stats": (1, 80),
    }
    changed |= {name: torch.zeros(()).expand(shape) for name, shape in wrong.items()}
    torch.save({"model": changed}, folder / "model.pth")
    command = ["export", "xtts-v2", "--checkpoint", str(folder), "-o", str(tmp_path / "artifact")]
    said = fails(
        capsys, command, ExportFailed, "missing nothing, left over nothing, of other shapes"
    )
    for name, shape in wrong.items():
        assert f"{name} is {list(shape)} and not {list(state[name].shape)}" in said
    assert said.count(" and not ") == len(wrong)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_parameters_that_are_no_numbers_are_all_named(
    folder: Path, state: State, tmp_path: Path, capsys: pytest.CaptureFixture[str], bad: float
) -> None:
    changed, broken = hollow(state), ["gpt.gpt.h.0.ln_1.bias", "mel_stats"]
    for name in broken:
        changed[name] = changed[name].clone()
        changed[name][-1] = bad
    torch.save({"model": changed}, folder / "model.pth")
    command = ["export", "xtts-v2", "--checkpoint", str(folder), "-o", str(tmp_path / "artifact")]
    said = fails(capsys, command, CorruptModel, r"model\.pth: holds NaN or infinite values in")
    assert str(broken) in said


def test_a_parameter_taken_twice_or_never_is_a_defect() -> None:
    weights = Weights({name: torch.zeros(1) for name in "abc"})
    for name in "abb":
        weights.take(name)
    with pytest.raises(ExportFailed, match=r"as often as \{'b': 2, 'c': 0\}; this is a defect"):
        weights.check_taken(dict.fromkeys("abc", (1,)))


def test_names_may_begin_with_xtts_and_lie_outside_a_model_table(
    folder: Path, state: State
) -> None:
    plain = XttsCheckpoint.open(folder)
    torch.save(
        {f"xtts.{name}": value for name, value in hollow(state).items()}, folder / "model.pth"
    )
    prefixed = XttsCheckpoint.open(folder)
    assert prefixed.args == plain.args
    assert prefixed.weights.names() == plain.weights.names()


def test_a_legacy_pickle_with_the_official_configuration_is_read_and_left_as_it_is(
    folder: Path, state: State
) -> None:
    """coqui-tts's own reader rewrites such a file; this one must not."""
    module = coqui.xtts_module()
    from TTS.config.shared_configs import BaseDatasetConfig
    from TTS.tts.configs import xtts_config

    carried = [
        module.XttsConfig(),
        module.XttsArgs(),
        module.XttsAudioConfig(),
        BaseDatasetConfig(),
    ]
    assert type(carried[0]) is xtts_config.XttsConfig
    for legacy in (True, False):
        data = {"model": hollow(state), "config": carried}
        torch.save(data, folder / "model.pth", _use_new_zipfile_serialization=not legacy)
        was = sha256_of(folder / "model.pth")
        assert len(XttsCheckpoint.open(folder).weights.names()) > 100
        assert sha256_of(folder / "model.pth") == was
        assert sorted(p.name for p in folder.iterdir()) == [
            "config.json",
            "model.pth",
            "speakers_xtts.pth",
            "vocab.json",
        ]


def test_the_configuration_under_its_older_name_is_read(
    folder: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = coqui.xtts_module()
    carried = []
    for name in ("XttsArgs", "XttsAudioConfig"):
        monkeypatch.setattr(getattr(module, name), "__module__", "TTS.tts.models.xtts")
        carried.append(getattr(module, name)())
    torch.save({"model": hollow(state), "config": carried}, folder / "model.pth")
    assert b"TTS.tts.models.xtts" in (folder / "model.pth").read_bytes()
    assert len(XttsCheckpoint.open(folder).weights.names()) > 100


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("name", ["model.pth", "speakers_xtts.pth"])
def test_a_pickle_that_runs_something_is_refused_and_not_run(
    folder: Path, name: str, legacy: bool
) -> None:
    hostile = {"model": Hostile(f"touch {folder / 'executed'}")}
    torch.save(hostile, folder / name, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(
        CorruptModel, match=rf"{name}: is damaged or holds more than weights.*"
    ) as caught:
        XttsCheckpoint.open(folder).speakers()
    assert "system" in str(caught.value)
    assert not (folder / "executed").exists()
    (folder / name).write_bytes(pickle.dumps(hostile))
    with pytest.raises(CorruptModel):
        XttsCheckpoint.open(folder).speakers()
    assert not (folder / "executed").exists()


def rename(folder: Path, name: str) -> None:
    (folder / "model.pth").rename(folder / name)


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def forget(path: Path, *marks: str) -> None:
    """Take tokens out of a vocabulary."""

    def without(v: dict[str, Any]) -> dict[str, Any]:
        kept = {token: i for token, i in v["model"]["vocab"].items() if token not in marks}
        added = [token for token in v["added_tokens"] if token["content"] not in marks]
        return v | {"model": v["model"] | {"vocab": kept}, "added_tokens": added}

    edit(path, without)


def damage_voice(
    path: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
) -> None:
    """Change the studio voice, beside a good one."""
    voices = torch.load(path, weights_only=True)
    torch.save({"good": voices["noise"], "noise": change(voices["noise"])}, path)


DAMAGES: list[tuple[Callable[[Path], object], type[VoxturnError], str]] = [
    (lambda f: (f / "model.pth").unlink(), CorruptModel, r"model\.pth: is missing"),
    (lambda f: rename(f, "best_model_900.pth"), CorruptModel, r"model\.pth: is missing, and best_model\.pth too; .* to model\.pth: best_model_900\.pth$"),
    (lambda f: os.truncate(f / "model.pth", 5000), CorruptModel, r"model\.pth: (cannot be read, is it cut short|is damaged)"),
    (lambda f: (f / "model.pth").write_bytes(b""), CorruptModel, r"model\.pth: "),
    (lambda f: (f / "model.pth").write_bytes(b"noise" * 99), CorruptModel, r"model\.pth: "),
    (lambda f: torch.save([1, 2], f / "model.pth"), CorruptModel, r"model\.pth: holds no state dict"),
    (lambda f: torch.save({"model": {"a": 1}}, f / "model.pth"), CorruptModel, r"model\.pth: holds no state dict"),
    (lambda f: (f / "config.json").unlink(), CorruptModel, r"config\.json: missing or not XTTS's configuration"),
    (lambda f: (f / "config.json").write_text("{"), CorruptModel, r"config\.json: missing or not XTTS's"),
    (lambda f: (f / "config.json").write_bytes(b"\xff\xfe"), CorruptModel, r"config\.json: missing or not XTTS's"),
    (lambda f: (f / "config.json").write_text("[]"), CorruptModel, r"config\.json: missing or not XTTS's"),
    (lambda f: edit(f / "config.json", lambda c: c | {"model_args": {}}), CorruptModel, r"config\.json: .*missing"),
    (
        lambda f: edit(f / "config.json", lambda c: c | {"model_args": c["model_args"] | {"gpt_use_perceiver_resampler": False}}),
        ExportFailed,
        "conditioning_perceiver",
    ),
    (
        lambda f: edit(f / "config.json", lambda c: c | {"model_args": c["model_args"] | {"decoder_input_dim": 128}}),
        ExportFailed,
        "the GPT gives 64 values a code, the vocoder takes 128; they do not belong together",
    ),
    (lambda f: (f / "vocab.json").unlink(), CorruptModel, r"vocab\.json is missing"),
    (lambda f: (f / "vocab.json").write_text("{"), CorruptModel, r"vocab\.json: not a tokenizer"),
    (lambda f: (f / "vocab.json").write_text("{}"), CorruptModel, r"vocab\.json: not a tokenizer"),
    (
        lambda f: edit(f / "vocab.json", lambda v: v | {"model": v["model"] | {"vocab": v["model"]["vocab"] | {"x": 999}}}),
        ExportFailed,
        r"vocab\.json has ids up to 999, the model embeds 96; they do not belong together",
    ),
    *(
        (lambda f, mark=mark: forget(f / "vocab.json", mark), ExportFailed, rf"vocab\.json: lacks {re.escape(mark)}; it is not")
        for mark in ("[START]", "[STOP]", "[SPACE]", "[UNK]")
    ),
    (
        lambda f: forget(f / "vocab.json", *(f"[{language}]" for language in coqui.LANGUAGES)),
        ExportFailed,
        r"vocab\.json: lacks the tag of any language, as \[en\]; it is not",
    ),
    (
        lambda f: forget(f / "vocab.json", "[STOP]", "[UNK]", *(f"[{language}]" for language in coqui.LANGUAGES)),
        ExportFailed,
        r"lacks \[STOP\], \[UNK\], the tag of any language",
    ),
    *(
        (lambda f, name=name, content=content: (f / name).write_bytes(content), CorruptModel, rf"{re.escape(name)}: is a {says}")
        for name in ("config.json", "vocab.json", "model.pth", "speakers_xtts.pth")
        for content, says in ((LFS_POINTER, "pointer of git-lfs"), (WEB_PAGE, "web page"))
    ),
    *(
        (lambda f, change=change: damage_voice(f / "speakers_xtts.pth", change), CorruptModel, rf"speakers_xtts\.pth: voice 'noise' is not whole \({says}")
        for change, says in (
            (lambda v: v | {"gpt_cond_latent": torch.zeros(1, 31, 64)}, r"\[31, 64\] values where its voices have \[32, 64\]"),
            (lambda v: v | {"gpt_cond_latent": torch.zeros(1, 32, 65)}, r"\[32, 65\] values"),
            (lambda v: v | {"gpt_cond_latent": torch.zeros(1, 64, 32)}, r"\[64, 32\] values"),
            (lambda v: v | {"gpt_cond_latent": torch.zeros(2, 32, 64)}, r"cannot reshape"),
            (lambda v: v | {"gpt_cond_latent": torch.zeros(7)}, r"\[7\] values"),
            (lambda v: v | {"speaker_embedding": torch.zeros(1, 511, 1)}, r"\[511\] values where its voices have \[512\]"),
            (lambda v: v | {"speaker_embedding": torch.full((1, 512, 1), np.nan)}, "values that are not finite"),
            (lambda v: v | {"gpt_cond_latent": torch.full((1, 32, 64), np.inf)}, "values that are not finite"),
        )
    ),
]  # fmt: skip


def test_a_fine_tune_is_read_as_its_trainer_left_it(folder: Path, state: State) -> None:
    """coqui-tts's trainer saves `best_model.pth`: the optimizer's state and losses, some of them
    numpy's, beside weights."""
    (folder / "model.pth").unlink()
    weights = {f"xtts.{name}": value for name, value in hollow(state).items()}
    weights["dvae.codebook.embed"] = torch.zeros(3)
    left = {
        "config": {"model_args": {}},
        "model": weights,
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": []},
        "step": 900,
        "model_loss": {"train_loss": np.float64(2.5), "eval_loss": np.float32(3.5)},
    }
    torch.save(left, folder / "best_model.pth")
    opened = XttsCheckpoint.open(folder)
    opened.weights.check(xtts.shapes(opened.args, opened.weights))


def test_a_fine_tune_for_another_language_is_exported(folder: Path) -> None:
    def renamed(v: dict[str, Any]) -> dict[str, Any]:
        text = json.dumps(v).replace('"[hi]"', '"[vi]"')
        for name in coqui.LANGUAGES:
            text = text.replace(f'"[{name}]"', f'"<{name}>"')
        return json.loads(text)  # type: ignore[no-any-return]

    edit(folder / "vocab.json", renamed)
    XttsCheckpoint.open(folder)
    assert XttsTokenizer(folder / "vocab.json").languages == ("vi",)


def everything(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): sha256_of(p)
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def fails(
    capsys: pytest.CaptureFixture[str], arguments: list[str], kind: type[VoxturnError], says: str
) -> str:
    with pytest.raises(kind, match=says) as caught:
        cli.main(["--debug", *arguments])
    assert type(caught.value) is kind
    capsys.readouterr()
    assert cli.main(arguments) == kind.exit_code
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"voxturn: {' '.join(str(caught.value).split())}"]
    return str(caught.value)


@pytest.mark.parametrize(("damage", "kind", "says"), DAMAGES)
def test_a_checkpoint_that_cannot_be_exported_leaves_nothing_and_keeps_what_was_there(
    damage: Callable[[Path], object],
    kind: type[VoxturnError],
    says: str,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(folder)
    out = tmp_path / "out"
    (out / "old").mkdir(parents=True)
    (out / "old" / "manifest.json").write_text(
        Manifest("xtts-v2", "xtts", "fp32", {}, {}).to_json()
    )
    was = everything(out)
    for name in ("old", "new"):
        fails(
            capsys,
            ["export", "xtts-v2", "--checkpoint", str(folder), "-o", str(out / name)],
            kind,
            says,
        )
    assert everything(out) == was
    assert [path.name for path in out.iterdir()] == ["old"]


def test_all_missing_and_left_over_parameters_are_named_at_once(
    folder: Path, state: State, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = hollow(state)
    gone = [
        "gpt.gpt.h.1.mlp.c_fc.bias",
        "hifigan_decoder.waveform_decoder.conv_pre.bias",
        "mel_stats",
    ]
    for name in gone:
        del changed[name]
    extra = ["gpt.gpt.h.2.ln_1.bias", "something.else"]
    changed |= dict.fromkeys(extra, torch.zeros(1))
    torch.save({"model": changed}, folder / "model.pth")
    out = str(tmp_path / "artifact")
    said = fails(
        capsys,
        ["export", "xtts-v2", "--checkpoint", str(folder), "-o", out],
        ExportFailed,
        "not an XTTS",
    )
    assert all(f"'{name}'" in said for name in (*gone, *extra))
    assert (
        said.index("missing")
        < said.index("mel_stats")
        < said.index("left over")
        < said.index("something.else")
    )


def test_older_weight_norms_and_plain_weights_give_the_same_vocoder(
    tiny: Tiny, state: State, tmp_path: Path
) -> None:
    args = XttsCheckpoint.open(tiny.checkpoint).args
    newer, older, plain = dict(state), State(), State()
    for name, value in newer.items():
        renamed = name.replace(".parametrizations.weight.original0", ".weight_g")
        older[renamed.replace(".parametrizations.weight.original1", ".weight_v")] = value
        prefix = name.split(".parametrizations.")[0]
        if prefix == name:
            plain[name] = value
        elif f"{prefix}.weight" not in plain:
            plain[f"{prefix}.weight"] = torch.from_numpy(Weights(newer).weight(prefix))
    assert any(name.endswith("weight_g") for name in older)
    files = []
    for number, form in enumerate((newer, older, plain)):
        weights = Weights(form)
        wanted = xtts_graphs.vocoder_shapes(args, weights)
        assert all(weights.shape(name) == shape for name, shape in wanted.items())
        xtts_graphs.vocoder(args, weights, tmp_path / f"{number}.onnx")
        assert weights.taken == dict.fromkeys(wanted, 1)
        files.append((tmp_path / f"{number}.onnx.data").read_bytes())
    assert files[0] == files[1] == files[2]
    assert len(list(weight_norm_names("x"))) == 2


def test_studio_voices_are_the_artifacts(tiny: Tiny) -> None:
    voices = read_speakers(tiny.checkpoint / "speakers_xtts.pth")
    with np.load(tiny.fp32 / "voices.npz") as stored:
        np.testing.assert_array_equal(
            stored["noise/latents"], voices["noise"]["gpt_cond_latent"][0]
        )
        np.testing.assert_array_equal(
            stored["noise/speaker"], voices["noise"]["speaker_embedding"].reshape(-1)
        )


# --- voxturn voices import


@pytest.fixture
def importing(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Any], list[str]]:
    monkeypatch.setenv("VOXTURN_HOME", str(tmp_path / "home"))

    def command(voices: Any) -> list[str]:
        torch.save(voices, tmp_path / "voices.pth")
        return ["voices", "import", str(tmp_path / "voices.pth"), "--model", str(tiny.short)]

    return command


def of(width: int = 64, value: float = 0.5) -> dict[str, torch.Tensor]:
    return {
        "gpt_cond_latent": torch.full((1, 32, width), value),
        "speaker_embedding": torch.full((1, 512, 1), value),
    }


def test_imported_voices_are_kept_like_cloned_ones(
    importing: Callable[[Any], list[str]], tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(importing({"Ana Florence": of(), "Eugenio Mataracı": of(value=0.25)})) == 0
    assert capsys.readouterr().out.splitlines() == ["Ana Florence", "Eugenio Mataracı"]
    assert cli.main(["voices", "show", "Ana Florence", "--model", str(tiny.fp32)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["from"], shown["latents"]) == ("voices.pth", [32, 64])
    assert Store().root.is_dir()


@pytest.mark.parametrize(
    ("voices", "says"),
    [
        ({}, "holds no voices; get the file again"),
        ([1], "holds no voices of XTTS"),
        ({"Ana": torch.zeros(3)}, "holds no voices of XTTS"),
        ({"Ana": {"gpt_cond_latent": torch.zeros(1, 32, 64)}}, "holds no voices of XTTS"),
        ({"Good": of(), "../up": of()}, "voice '../up' cannot be kept"),
        ({"Good": of(), "Wide": of(65)}, "voice 'Wide' cannot be kept"),
        (
            {"Good": of(), "Broken": of(value=float("nan"))},
            "voice 'Broken' cannot be kept .*not finite",
        ),
    ],
)
def test_voices_that_cannot_be_imported_import_none(
    voices: Any,
    says: str,
    importing: Callable[[Any], list[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    fails(capsys, importing(voices), CorruptModel, says)
    assert not list(Store().root.rglob("*.npz"))


def test_a_file_of_voices_that_is_missing_or_hostile(
    importing: Callable[[Any], list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = importing({"Ana": Hostile(f"touch {tmp_path / 'executed'}")})
    fails(capsys, command, CorruptModel, r"voices\.pth: is damaged or holds more than weights")
    assert not (tmp_path / "executed").exists()
    (tmp_path / "voices.pth").unlink()
    fails(capsys, command, CorruptModel, r"voices\.pth: is missing")
