"""Coqui's Tacotron 2 with random weights: exported, compared with coqui-tts itself, spoken in
pieces."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
import torch
from voxturn.export.coqui import mel_parity
from voxturn.export.coqui.folder import CoquiFolder
from voxturn.export.coqui.modules import tts_module
from voxturn.export.coqui.parity import error, graph_of, upstream
from voxturn.export.coqui.speakers import speakers_of
from voxturn.export.coqui.tacotron import parity
from voxturn.export.coqui.tacotron.attention import PREFIX
from voxturn.export.coqui.tacotron.sizes import ATTENTIONS
from voxturn.export.net import Net
from voxturn.export.weights import Weights
from voxturn.runtime import cli
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.audio.window import Plan
from voxturn.runtime.errors import CorruptModel, ExportFailed, UnknownVoice, UsageError
from voxturn.runtime.families.fake import write_profile
from voxturn.runtime.families.tacotron.encoder import (
    TacotronEncoder,
    TacotronGraphs,
    TacotronManner,
    TacotronShape,
)
from voxturn.runtime.families.tacotron.loop import Loop
from voxturn.runtime.families.windowed import Latents, SameFrames, WindowedVocoder
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.server import Address, serving
from voxturn.runtime.messages import Sentence
from voxturn.runtime.models.manifest import Manifest
from voxturn.runtime.models.store import Store
from voxturn.runtime.profile import Engine, SpeakEngine, load_profile
from voxturn.runtime.text.reading import ReadText

from tests.tiny.test_coqui_mel import exporting
from tests.tiny.test_coqui_vits import Made, edit, fails, say

pytestmark = pytest.mark.filterwarnings("ignore")  # coqui-tts and what it imports
VOICES = ("tacotron2", "tacotron2-dca")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("tacotrons")
    command = ["export", "make-checkpoint", "coqui:hifigan", "-o", str(folder / "hifigan")]
    assert cli.main(command) == 0
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def made(root: Path) -> Callable[[str], Made]:
    """Of a kind, made when it is first asked for."""
    known: dict[str, Made] = {}

    def make(kind: str) -> Made:
        if kind not in known:
            new = Made(root / f"{kind}-checkpoint", root / kind)
            command = ["export", "make-checkpoint", f"coqui:{kind}", "-o", str(new.checkpoint)]
            assert cli.main(command) == 0
            command = exporting(new.checkpoint, root / "hifigan")
            assert cli.main([*command, "-o", str(new.artifact)]) == 0
            known[kind] = new
        return known[kind]

    return make


@pytest.mark.parametrize("kind", VOICES)
def test_the_export_compares_a_loop_of_forty_steps(made: Callable[[str], Made], kind: str) -> None:
    manifest = Manifest.read(made(kind).artifact)
    assert manifest.kind == "coqui-tacotron"
    assert manifest.synthetic
    assert manifest.reached["parity"] == 1
    assert manifest.reached["steps.differ"] == 0
    assert manifest.reached["frames.error"] <= 1e-5
    assert manifest.reached["mels.error"] <= 1e-4
    assert manifest.reached["stream.snr_db"] >= 60


def test_it_stops_where_upstream_stops_and_takes_the_frames_that_the_checkpoint_says(
    made: Callable[[str], Made], root: Path, tmp_path: Path
) -> None:
    """Three frames a step became two while it was trained; the last speaker says the text."""
    length, most = 9, 24
    voice = made("tacotron2-dca")
    whole = torch.load(voice.checkpoint / "model.pth", weights_only=True)
    bias = whole["model"]["decoder.stopnet.1.linear_layer.bias"]
    folder = linked(voice.checkpoint, tmp_path / "voice")
    vocoder = mel_parity.upstream_vocoder(root / "hifigan")
    model = upstream(CoquiFolder.open(voice.checkpoint))
    model.decoder.set_r(2)
    model.decoder.max_decoder_steps = most
    rows = mel_parity.rows_of(voice.artifact)
    ids = parity.random_ids(model.tokenizer.characters.num_chars, length)
    torch.manual_seed(length)
    chances = model.inference(torch.from_numpy(ids), parity.auxiliary(model, rows, 2))
    logits = torch.logit(chances["stop_tokens"].reshape(-1).double())
    best = int(logits[1:].argmax()) + 1
    bias -= float(logits[best]) - 1e-3
    (folder / "model.pth").unlink()
    torch.save(whole | {"r": 2}, folder / "model.pth")
    target = tmp_path / "out"
    assert cli.main([*exporting(folder, root / "hifigan"), "-o", str(target)]) == 0
    model = upstream(CoquiFolder.open(folder))
    assert model.decoder.r == 2
    properties = dict(Manifest.read(target).properties)
    graphs = parity.graphs_of(target)
    told = (model, vocoder, graphs, properties, rows, length, 2, most)
    found = parity.compared(*told)
    assert found["steps"] == best + 1 < most
    assert found["steps.differ"] == 0
    assert found["frames.error"] <= 1e-5
    assert found["mels.error"] <= 1e-4
    assert found["audio.error"] <= 1e-4


def linked(source: Path, target: Path) -> Path:
    """A folder with the same weights, and files of its own beside them."""
    target.mkdir()
    for path in source.iterdir():
        if path.suffix == ".pth":
            os.link(path, target / path.name)
        else:
            shutil.copy(path, target / path.name)
    return target


class Ids:
    def read(self, text: str, language: str) -> ReadText:
        return ReadText([1 + i % 50 for i in range(len(text))])


async def test_streamed_audio_is_the_whole(made: Callable[[str], Made]) -> None:
    voice = made("tacotron2")
    p, graphs = voice.properties, parity.graphs_of(voice.artifact)
    speak, vocode = Lane("speak"), Lane("vocode")
    shape = TacotronShape(0.01, 60, 0, 24, p["post_margin"], p["repeated"])
    encoder = TacotronEncoder(
        TacotronGraphs(graphs["acoustic"], graphs["step"], graphs["post"]),
        Ids(), speak, TacotronManner("en"), shape, ("en",),
    )  # fmt: skip
    vocoder = WindowedVocoder(
        graphs["decoder"], vocode, p["sample_rate"], p["hop"], p["margin"], SameFrames(),
        (Plan(),), trim=False,
    )  # fmt: skip

    async def sentence() -> AsyncIterator[Sentence]:
        yield Sentence("It is four o'clock.", 0)

    pieces: list[Latents] = []

    async def heard() -> AsyncIterator[Latents]:
        async for piece in encoder(sentence()):
            pieces.append(piece)
            yield piece

    chunks = [chunk.samples async for chunk in vocoder(heard())]
    speak.close()
    vocode.close()
    streamed = np.concatenate(chunks)
    frames = np.concatenate([piece.values for piece in pieces])
    ids = np.array([Ids().read("It is four o'clock.", "en").ids])
    loop = Loop(graphs["step"], graphs["acoustic"].run({"input": ids}), 60)
    raw = []
    while not loop.over:
        raw.append(loop.next())
    mels = np.ascontiguousarray(np.concatenate(raw).T[None])
    latents = graphs["post"].run({"mels": mels})["latents"]
    latents = np.pad(latents, ((0, 0), (0, 0), (p["repeated"], p["repeated"])), mode="edge")
    whole = graphs["decoder"].run({"latents": latents})["audio"].reshape(-1)
    assert len(chunks) > 2
    assert len(pieces) > 2
    assert frames.shape == latents[0].T.shape
    noise = np.square(streamed - whole).sum()
    assert 10 * np.log10(np.square(whole).sum() / max(noise, 1e-30)) >= 60


def test_it_speaks_with_the_options_that_it_has(
    made: Callable[[str], Made], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    voice, out = made("tacotron2-dca"), tmp_path / "said.wav"
    ana, again, ben, seeded = (
        say(voice, out, *options) for options in ([], [], ["--voice", "ben"], ["--seed", "4"])
    )
    assert ana.size > 5000
    assert np.array_equal(ana, again)
    assert not np.array_equal(ana, ben)
    assert not np.array_equal(ana, seeded)
    command = ["say", "Hello.", "--model", str(voice.artifact), "-o", str(out)]
    fails(capsys, [*command, "--voice", "nobody"], UnknownVoice, "this model has ana, ben, eva")
    fails(capsys, [*command, "--noise", "1"], UsageError, "noise")


async def test_the_gateway_speaks_with_it(made: Callable[[str], Made], tmp_path: Path) -> None:
    model = str(made("tacotron2-dca").artifact)
    profile = replace(
        load_profile(write_profile(tmp_path / "fake")),
        speak=SpeakEngine(model, "onnx", "fp32", voice="ana"),
        vocode=Engine(model, "onnx", "fp32"),
    )
    async with (
        Assistant.load(profile, Store(tmp_path / "store")) as assistant,
        serving(Gateway(assistant), Address(port=0)) as port,
        httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60.0) as http,
    ):
        said = []
        for name in ("ana", "ben"):
            body = {"input": "Hello.", "voice": name, "response_format": "pcm"}
            answer = await http.post("/v1/audio/speech", json=body)
            assert answer.status_code == 200, answer.text
            said.append(answer.content)
            assert len(said[-1]) > 1000
        assert said[0] != said[1]
        body = {"input": "Hello.", "voice": "nobody"}
        assert (await http.post("/v1/audio/speech", json=body)).status_code == 404


# --- attentions, each as small as upstream makes it

ATTENDING: dict[str, dict[str, Any]] = {
    "location": {"attention_norm": "softmax"},
    "sigmoid": {"location": False, "attention_norm": "sigmoid"},
    "windowed": {"attention_win": True, "attention_norm": "softmax"},
    "forward": {"use_forward_attn": True, "attention_norm": "softmax"},
    "agent": {"use_forward_attn": True, "agent": True, "attention_norm": "sigmoid"},
    "masked": {"use_forward_attn": True, "forward_attn_mask": True, "attention_norm": "softmax"},
    "graves": {"attention_type": "graves"},
    "dynamic": {"attention_type": "dynamic_convolution"},
}
QUERY, MEMORY = 12, 10


def attention(config: dict[str, Any]) -> Any:
    return (
        tts_module("TTS.tts.layers.tacotron.attentions")
        .init_attn(
            attn_type=config.get("attention_type", "original"),
            query_dim=QUERY,
            embedding_dim=MEMORY,
            attention_dim=16,
            location_attention=config.get("location", True),
            attention_location_n_filters=4,
            attention_location_kernel_size=31,
            windowing=config.get("attention_win", False),
            norm=config.get("attention_norm", "softmax"),
            forward_attn=config.get("use_forward_attn", False),
            trans_agent=config.get("agent", False),
            forward_attn_mask=config.get("forward_attn_mask", False),
            attn_K=3,
        )
        .eval()
    )


@pytest.mark.parametrize("name", ATTENDING)
@pytest.mark.parametrize("symbols", [4, 23])
def test_an_attention_is_the_originals_over_forty_steps(
    name: str, symbols: int, tmp_path: Path
) -> None:
    config = ATTENDING[name]
    torch.manual_seed(symbols)
    original = attention(config)
    weights = Weights({f"{PREFIX}.{key}": value for key, value in original.state_dict().items()})
    sizes = ATTENTIONS[config.get("attention_type", "original")](weights, config)
    weights.check(sizes.shapes())
    begin, step = tmp_path / "begin.onnx", tmp_path / "step.onnx"
    states = sizes.states()
    n = Net(begin, weights)
    memory = n.g.input("memory", "float32", [1, "phonemes", MEMORY])
    for key, value in sizes.start(n, memory, n.op("Shape", memory, start=1, end=2)).items():
        n.g.node("Identity", [value], [key])
        n.g.output(key, "float32", states[key])
    n.g.save()
    n = Net(step, weights)
    query = n.g.input("query", "float32", [1, QUERY])
    memory = n.g.input("memory", "float32", [1, "phonemes", MEMORY])
    given = {key: n.g.input(key, "float32", shape) for key, shape in states.items()}
    alignment, changed = sizes.attend(n, query, memory, given)
    for key, value in {"alignment": alignment, **changed}.items():
        n.g.node("Identity", [value], [f"next_{key}"])
        n.g.output(f"next_{key}", "float32", states.get(key, [1, "phonemes"]))
    n.g.save()
    weights.check_taken(sizes.shapes())

    values, queries = torch.randn(1, symbols, MEMORY), 2 * torch.randn(40, 1, QUERY)
    wanted, got = [], []
    with torch.no_grad():
        original.init_states(values)
        keys = original.preprocess_inputs(values)
        for query in queries:
            original(query, values, keys, None)
            wanted.append(original.attention_weights[0].numpy().copy())
    now = graph_of(begin).run({"memory": values.numpy()}) | {"memory": values.numpy()}
    graph = graph_of(step)
    used = {spec.name for spec in graph._contract.inputs}
    for query in queries.numpy():
        inputs = {key: value for key, value in now.items() if key in used}
        outputs = graph.run({**inputs, "query": query})
        got.append(outputs["next_alignment"][0])
        now |= {key.removeprefix("next_"): value for key, value in outputs.items()}
    # a mixture's weights are differences of sums near one: a bit of these is 1e-5 of the largest
    assert error(np.stack(got), np.stack(wanted)) <= (1e-4 if name == "graves" else 1e-5)


# --- what cannot be exported

BAD: dict[str, tuple[Callable[[Path, Path], Any], str]] = {
    "another attention": (lambda v, h: edit(v, lambda c: c.update(attention_type="monotonic")), "its attention is 'monotonic', not exported yet; exported: original, graves"),
    "another norm": (lambda v, h: edit(v, lambda c: c.update(attention_norm="sparse")), "attention_norm 'sparse' is none of softmax, sigmoid"),
    "weights of another attention": (lambda v, h: edit(v, lambda c: c.update(attention_type="graves")), "the checkpoint is not a Tacotron 2"),
    "a Capacitron": (lambda v, h: edit(v, lambda c: c.update(use_capacitron_vae=True)), "its style is drawn by a Capacitron, not exported yet"),
    "more frames than a step makes": (lambda v, h: edit(v, lambda c: c.update(r=5)), "5 frames a step of 2"),
    "no frames a step": (lambda v, h: edit(v, lambda c: c.update(r="two")), "config.json"),
    "a style of another size": (lambda v, h: edit(v, lambda c: c.update(use_gst=True)), "a memory that is 256 values too small"),
    "another vocabulary": (lambda v, h: edit(v, lambda c: c["characters"].update(characters="abc")), "its vocabulary has 16 symbols"),
    "another vocoder": (lambda v, h: edit(h, lambda c: c["audio"].update(mel_fmax=None)), "the vocoder's mels are not the voice's: mel_fmax 8000.0 and None"),
    "another family's": (lambda v, h: edit(v, lambda c: c.update(model="glow_tts")), "the checkpoint is not a GlowTTS"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_tacotron_is_refused_in_one_line(
    made: Callable[[str], Made],
    root: Path,
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage, says = BAD[name]
    voice = linked(made("tacotron2").checkpoint, tmp_path / "voice")
    vocoder = linked(root / "hifigan", tmp_path / "vocoder")
    damage(voice, vocoder)
    fails(capsys, [*exporting(voice, vocoder), "-o", str(tmp_path / "out")], ExportFailed, says)
    assert not (tmp_path / "out").exists()


def test_weights_that_are_missing_or_no_numbers(
    made: Callable[[str], Made], root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    voice = linked(made("tacotron2").checkpoint, tmp_path / "voice")
    state = torch.load(voice / "model.pth", weights_only=True)["model"]
    state = {name: value for name, value in state.items() if not name.startswith("coarse_")}
    command = [*exporting(voice, root / "hifigan"), "-o", str(tmp_path / "out")]
    for change, kind, says in (
        (lambda s: s["decoder.stopnet.1.linear_layer.bias"].fill_(float("nan")), CorruptModel, "holds NaN or infinite values in ['decoder.stopnet.1"),
        (lambda s: s.pop("decoder.stopnet.1.linear_layer.bias"), ExportFailed, "missing ['decoder.stopnet.1.linear_layer.bias']"),
        (lambda s: s.pop("encoder.lstm.weight_hh_l0"), ExportFailed, "the checkpoint is not a Tacotron 2 (KeyError"),
    ):  # fmt: skip
        change(state)
        (voice / "model.pth").unlink()
        torch.save({"model": state}, voice / "model.pth")
        fails(capsys, command, kind, says)


def test_d_vectors_are_given_as_they_are(tmp_path: Path) -> None:
    """Upstream normalises them for other families, not for this one."""
    (tmp_path / "config.json").write_text("{}")
    clips = {"a": {"name": "ana", "embedding": [3.0, 4.0]}}
    (tmp_path / "speakers.json").write_text(json.dumps(clips))
    folder = CoquiFolder.open(tmp_path)
    names, rows = speakers_of(folder, Weights({}), 2, unit=False)
    assert names == ["ana"]
    np.testing.assert_array_equal(rows, [[3.0, 4.0]])
    np.testing.assert_allclose(speakers_of(folder, Weights({}), 2)[1], [[0.6, 0.8]], rtol=1e-6)
