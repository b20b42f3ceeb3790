"""The graphs of a tiny XTTS v2 against coqui-tts's own modules, number by number, and streamed
audio against whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from voxturn.bench.coqui_peer import Peer
from voxturn.export.artifact import contract_of
from voxturn.export.coqui import modules as coqui
from voxturn.export.xtts import export as xtts
from voxturn.export.xtts import parity as xtts_parity
from voxturn.export.xtts.checkpoint import TRAINING_ONLY, XttsCheckpoint
from voxturn.export.xtts.graphs import context_needed, margin_needed
from voxturn.runtime.audio.window import Plan
from voxturn.runtime.decode.engine import DecodeEngine
from voxturn.runtime.decode.generation import Request, Step
from voxturn.runtime.decode.sampler import Sampling, sample
from voxturn.runtime.errors import ExportFailed, InferenceFailed
from voxturn.runtime.executors.fake import FakeDecoder, FakeGraph
from voxturn.runtime.executors.onnx import OnnxDecoder, OnnxGraph
from voxturn.runtime.executors.openvino import OpenVinoGraph, convolution_s
from voxturn.runtime.families.windowed import Latents, WindowedVocoder
from voxturn.runtime.families.xtts.frames import XttsFrames
from voxturn.runtime.families.xtts.plans import ALONE
from voxturn.runtime.families.xtts.prompt import SpeechOptions, XttsIds, speech
from voxturn.runtime.families.xtts.voices import Cloner
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.flow.scheduling import Cores, EngineBudget
from voxturn.runtime.messages import Sentence
from voxturn.runtime.models.manifest import (
    MANIFEST,
    ONNX_TENSOR_SCATTER,
    Manifest,
    sha256_of,
)
from voxturn.runtime.models.store import quiet
from voxturn.runtime.protocols import GraphExecutor

from tests.tiny.conftest import Tiny

pytestmark = pytest.mark.filterwarnings("ignore")  # coqui-tts and what it imports
HOP, RATIO = 256, 24000 / 22050


def graph(folder: Path, name: str) -> OnnxGraph:
    path = folder / f"{name}.onnx"
    return OnnxGraph(path, contract_of(path), Cores().budget("vocode", 0))


def error(got: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference over the largest value."""
    assert got.shape == wanted.shape
    return float(np.abs(got - wanted).max() / np.abs(wanted).max())


def snr(got: np.ndarray, wanted: np.ndarray) -> float:
    assert got.shape == wanted.shape
    noise = (got.astype(np.float64) - wanted).ravel()
    return float(
        10 * np.log10((wanted.astype(np.float64) ** 2).sum() / max((noise**2).sum(), 1e-30))
    )


# --- cloning


@pytest.mark.parametrize("frames", [30, 130, 517])
def test_conditioning_latents_are_the_originals(tiny: Tiny, original: Any, frames: int) -> None:
    mel = np.random.default_rng(frames).standard_normal((1, 80, frames)).astype(np.float32)
    with torch.no_grad():
        wanted = original.gpt.get_style_emb(torch.from_numpy(mel)).transpose(1, 2).numpy()
    assert error(graph(tiny.fp32, "conditioning").run({"mel": mel})["latents"], wanted) <= 1e-4


@pytest.mark.parametrize("seconds", [0.5, 2.0])
def test_the_speakers_embedding_is_the_originals(tiny: Tiny, original: Any, seconds: float) -> None:
    wave = torch.randn(1, int(16000 * seconds), generator=torch.Generator().manual_seed(1)) * 0.1
    encoder = original.hifigan_decoder.speaker_encoder
    with torch.no_grad():
        mel, wanted = encoder.torch_spec(wave).numpy(), encoder(wave.clone(), l2_norm=True).numpy()
    assert error(graph(tiny.fp32, "speaker").run({"mel": mel})["embedding"], wanted) <= 1e-4


def test_the_mel_front_ends_are_the_originals(tiny: Tiny, original: Any) -> None:
    no_graph = FakeGraph(lambda inputs: {})
    cloner = Cloner(tiny.fp32, Manifest.read(tiny.fp32).properties, no_graph, no_graph)
    for size in (22050, 9999):
        wave = np.random.default_rng(size).standard_normal(size).astype(np.float32) * 0.1
        with torch.no_grad():
            wanted = coqui.xtts_module().wav_to_mel_cloning(
                torch.from_numpy(wave[None]), mel_norms=original.mel_stats.cpu(), n_fft=2048, hop_length=256,
                win_length=1024, power=2, normalized=False, sample_rate=22050, f_min=0, f_max=8000, n_mels=80,
            )  # fmt: skip
            speaker = original.hifigan_decoder.speaker_encoder.torch_spec(
                torch.from_numpy(wave[None])
            )
        assert error(cloner.clone_mel(wave), wanted.numpy()) <= 1e-4
        assert error(cloner.speaker_mel(wave), speaker.numpy()) <= 1e-4


# --- the GPT


class Speaking:
    """The GPT of an artifact in the token engine, and the logits that it sampled from."""

    def __init__(self, folder: Path, slots: int = 1) -> None:
        self.ids = XttsIds.from_properties(Manifest.read(folder).properties)
        path = folder / "gpt.onnx"
        budget = Cores().budget("speak", 0)
        self.decoder = OnnxDecoder(path, contract_of(path), budget, slots, self.ids.positions)
        self.logits: list[np.ndarray] = []
        run = self.decoder.run

        def noted(*arguments: Any) -> Any:
            outputs = run(*arguments)
            self.logits.append(outputs.logits[0].copy())
            return outputs

        self.decoder.run = noted  # type: ignore[method-assign]

    def request(
        self, tokens: list[int], latents: np.ndarray, sampling: Sampling, forced: Any = ()
    ) -> Request:
        return speech(self.ids, "voice", latents, tokens, SpeechOptions(sampling, forced))

    def steps(self, request: Request, most: int) -> list[Step]:
        engine = DecodeEngine(self.decoder)
        sequence = engine.add(request, most)
        while engine.busy:
            engine.step()
        assert sequence.error is None
        return list(sequence.out)


@pytest.fixture(scope="module")
def fp32(tiny: Tiny) -> Iterator[Speaking]:
    speaking = Speaking(tiny.fp32)
    yield speaking
    speaking.decoder.close()


def prompt(original: Any, seed: int) -> tuple[list[int], torch.Tensor]:
    random = np.random.default_rng(seed)
    args = original.args
    tokens = random.integers(2, args.gpt_number_text_tokens - 1, 5 + 20 * seed).tolist()
    return tokens, torch.from_numpy(
        random.standard_normal((1, 32, args.gpt_n_model_channels)).astype(np.float32) * 0.1
    )


@pytest.mark.parametrize("seed", [0, 2])
def test_greedy_codes_and_their_latents_are_the_originals(
    fp32: Speaking, original: Any, seed: int
) -> None:
    tokens, latents = prompt(original, seed)
    with torch.no_grad():
        codes = original.gpt.generate(
            cond_latents=latents, text_inputs=torch.tensor([tokens]), do_sample=False, num_beams=1,
            repetition_penalty=10.0, top_k=None, top_p=None, temperature=1.0, max_new_tokens=210,
        )[0].tolist()  # fmt: skip
        wanted = original.gpt(
            torch.tensor([tokens]), torch.tensor([len(tokens)]), torch.tensor([codes]),
            torch.tensor([len(codes) * 1024]), cond_latents=latents, return_attentions=False, return_latent=True,
        )[0].numpy()  # fmt: skip
    assert len(codes) >= 200
    steps = fp32.steps(
        fp32.request(tokens, latents[0].numpy(), Sampling(repetition_penalty=10.0)), len(codes)
    )
    assert [step.token for step in steps] == codes
    assert error(np.stack([step.hidden for step in steps]), wanted[: len(steps)]) <= 1e-4


def test_the_penalty_sees_what_upstreams_does_of_the_prefix(fp32: Speaking, original: Any) -> None:
    """Upstream fills the prompt's ids with ones, so code 1 is penalised from the start; ours must
    do as it does."""
    tokens, latents = prompt(original, 1)
    request = fp32.request(tokens, latents[0].numpy(), Sampling())
    assert set(request.history or ()) == {1, original.args.gpt_start_audio_token}
    with torch.no_grad():
        inputs = original.gpt.compute_embeddings(latents, torch.tensor([tokens]))
    assert inputs.shape[1] == len(request.prompt)
    assert inputs[0].tolist() == list(request.history or ())


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p", "penalty"), [(0.75, 50, 0.85, 10.0), (1.3, 12, 0.6, 2.0)]
)
def test_sampled_codes_follow_the_chain_of_transformers(
    fp32: Speaking, original: Any, temperature: float, top_k: int, top_p: float, penalty: float
) -> None:
    """The first code over 4000 seeds: only what transformers keeps, as often as it says
    (chi-square)."""
    from scipy import stats

    tokens, latents = prompt(original, 1)
    args = original.args
    with torch.no_grad():
        inputs = original.gpt.compute_embeddings(latents, torch.tensor([tokens]))
        out = original.gpt.gpt_inference.generate(
            inputs, bos_token_id=args.gpt_start_audio_token, pad_token_id=args.gpt_stop_audio_token,
            eos_token_id=args.gpt_stop_audio_token, max_length=inputs.shape[1] + 1, do_sample=True, num_beams=1,
            temperature=temperature, top_k=top_k, top_p=top_p, repetition_penalty=penalty, output_scores=True,
            return_dict_in_generate=True,
        )  # fmt: skip
    wanted = torch.softmax(out.scores[0][0].double(), -1).numpy()
    sampling = Sampling(temperature, top_k, top_p, 0.0, penalty)
    request = fp32.request(tokens, latents[0].numpy(), sampling)
    fp32.logits.clear()
    fp32.steps(request, 1)
    history, logits, count = list(request.history or ()), fp32.logits[-1], 4000
    drawn = [sample(logits, history, sampling.with_seed(seed), 0) for seed in range(count)]
    seen = np.bincount(drawn, minlength=wanted.size)
    kept = wanted > 0
    assert 5 < kept.sum() <= top_k
    assert not seen[~kept].any()
    assert stats.chisquare(seen[kept], wanted[kept] * count).pvalue > 0.001
    assert 0.5 * np.abs(seen / count - wanted).sum() < 0.06


def test_int8_stays_near_the_original_on_the_same_codes(
    tiny: Tiny, fp32: Speaking, original: Any
) -> None:
    tokens, latents = prompt(original, 1)
    codes = tuple(np.random.default_rng(0).integers(0, 1024, 60).tolist())
    int8 = Speaking(tiny.int8)
    try:
        got, wanted = (
            np.stack(
                [
                    s.hidden
                    for s in one.steps(
                        one.request(tokens, latents[0].numpy(), Sampling(), codes), 60
                    )
                ]
            )
            for one in (int8, fp32)
        )
    finally:
        int8.decoder.close()
    cosine = (got * wanted).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(wanted, axis=1)
    assert cosine.min() > 0.99


# --- the vocoder


def whole(vocoder: OnnxGraph, latents: np.ndarray, speaker: np.ndarray) -> np.ndarray:
    frames = XttsFrames(4, RATIO)
    inputs = frames.inputs(latents, 0, frames.count(len(latents)), 0, 0)
    return np.asarray(
        vocoder.run(inputs | {"speaker": speaker.reshape(1, 512, 1)})["audio"]
    ).reshape(-1)


@pytest.fixture(scope="module")
def vocoder(tiny: Tiny) -> OnnxGraph:
    return graph(tiny.fp32, "vocoder")


def acoustics(count: int, width: int = 64) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(count)
    speaker = random.standard_normal(512).astype(np.float32) * 0.04
    return random.standard_normal((count, width)).astype(np.float32), speaker


@pytest.mark.parametrize("count", [3, 24])
def test_the_vocoders_audio_is_the_originals(vocoder: OnnxGraph, original: Any, count: int) -> None:
    latents, speaker = acoustics(count)
    with torch.no_grad():
        wanted = original.hifigan_decoder(
            torch.from_numpy(latents[None]), g=torch.from_numpy(speaker.reshape(1, 512, 1))
        )
    assert snr(whole(vocoder, latents, speaker), wanted.numpy().reshape(-1)) >= 60


@pytest.mark.parametrize("compute", ["onnx", "fp32", "bf16"])
def test_audio_does_not_depend_on_how_late_it_is(tiny: Tiny, compute: str) -> None:
    """147 latents are 640 frames exactly: what comes so much later is the same, in half of the
    digits, too."""
    contract, budget = (
        Manifest.read(tiny.fp32).graphs["windowed_waveform_decoder"],
        EngineBudget(1, False, 0),
    )
    executor: GraphExecutor = graph(tiny.fp32, "vocoder")
    if compute != "onnx":
        pytest.importorskip("openvino")
        if compute not in convolution_s(1):
            pytest.skip(
                "OpenVINO has no bf16 on this processor, and says so: see test_xtts_runtime"
            )
        executor = OpenVinoGraph(tiny.fp32 / contract.file, contract, budget, compute)
    latents, speaker = acoustics(24)
    audio = []
    for later in (0, 1, 4):
        inputs = XttsFrames(4, RATIO).inputs(latents, 20, 60, 2, 2) | {
            "speaker": speaker.reshape(1, 512, 1)
        }
        inputs["latent_offset"] = np.array(inputs["latent_offset"] + 147 * later)
        inputs["frame_offset"] = np.array(inputs["frame_offset"] + 640 * later)
        audio.append(executor.run(inputs)["audio"])
    executor.close()
    np.testing.assert_array_equal(audio[1], audio[0])
    np.testing.assert_array_equal(audio[2], audio[0])


def test_whole_sequences_are_vocoded_several_at_once_over_the_same_weights(
    vocoder: OnnxGraph, tiny: Tiny
) -> None:
    batched = graph(tiny.fp32, "vocoder_whole")
    assert not (tiny.fp32 / "vocoder_whole.onnx.data").exists()
    random = np.random.default_rng(0)
    for count in (1, 7, 147):  # 147: where steps and frames meet again
        latents, _ = acoustics(count)
        several = np.stack([latents * scale for scale in (1.0, 0.5, -1.0)]).astype(np.float32)
        voices = (random.standard_normal((3, 512, 1)) * 0.04).astype(np.float32)
        audio = batched.run({"latents": several, "speaker": voices})["audio"]
        for row in range(3):
            alone = whole(vocoder, several[row], voices[row])
            np.testing.assert_allclose(audio[row, 0], alone, atol=1e-5)


def test_int8_has_the_vocoder_and_the_cloner_of_fp32(tiny: Tiny) -> None:
    one, other = Manifest.read(tiny.fp32), Manifest.read(tiny.int8)
    for name in (
        "vocoder.onnx.data",
        "conditioning.onnx.data",
        "speaker.onnx.data",
        "mel.npz",
        "voices.npz",
    ):
        assert one.files[name] == other.files[name]
    assert one.files["gpt.onnx.data"] != other.files["gpt.onnx.data"]
    assert one.synthetic
    assert other.synthetic


PLANS = st.builds(
    Plan,
    first=st.integers(4, 30),
    largest=st.integers(30, 160),
    growth=st.sampled_from([1.0, 1.4, 2.5]),
    steady=st.integers(0, 3),
    rounds=st.integers(1, 24),
)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    chunks=st.lists(st.integers(1, 9), min_size=1, max_size=6).filter(
        lambda chunks: sum(chunks) >= 3
    ),
    plan=st.sampled_from(ALONE) | PLANS,
)
@example(chunks=[1] * 40, plan=ALONE[0])
@example(chunks=[3], plan=ALONE[0])
@example(chunks=[9, 9, 9, 9, 9], plan=replace(ALONE[0], rounds=23))
async def test_streamed_audio_is_the_full_decodes(
    vocoder: OnnxGraph, chunks: list[int], plan: Plan
) -> None:
    latents, speaker = acoustics(sum(chunks))
    lane, sentence = Lane("vocode"), Sentence("x", 0)
    vocode = WindowedVocoder(
        vocoder, lane, 24000, HOP, margin_needed(), XttsFrames(4, RATIO), (plan,), trim=False
    )
    inputs = {"speaker": speaker.reshape(1, 512, 1)}

    async def arriving() -> AsyncIterator[Latents]:
        for end, count in zip(np.cumsum(chunks).tolist(), chunks, strict=True):
            yield Latents(latents[end - count : end], sentence, False, inputs)
        yield Latents(latents[:0], sentence, True, inputs)

    try:
        streamed = np.concatenate([chunk.samples async for chunk in vocode(arriving())])
    finally:
        lane.close()
    assert snr(streamed, whole(vocoder, latents, speaker)) >= 60


def test_the_margin_is_what_the_vocoder_reaches_and_hardly_more(vocoder: OnnxGraph) -> None:
    """One latent changed: the audio changes as far beyond that latent's frames as the vocoder
    reaches."""
    latents, speaker = acoustics(40)
    changed = latents.copy()
    changed[20] += 1.0
    frames = [
        torch.nn.functional.interpolate(
            torch.nn.functional.interpolate(torch.from_numpy(x.T[None]), scale_factor=[4.0], mode="linear"),
            scale_factor=[RATIO], mode="linear",
        )
        for x in (latents, changed)
    ]  # fmt: skip
    own = np.flatnonzero((frames[0] != frames[1]).numpy().any((0, 1)))
    audio = [whole(vocoder, x, speaker) for x in (latents, changed)]
    touched = np.flatnonzero(audio[0] != audio[1]) / HOP
    reach = max(own[0] - touched[0], touched[-1] - own[-1])
    assert reach <= margin_needed() <= reach + 5
    assert all(needed > 0 for needed in context_needed())


def test_a_window_with_the_margin_is_the_full_decodes_and_with_less_it_is_not(
    vocoder: OnnxGraph,
) -> None:
    latents, speaker = acoustics(24)
    frames, full = XttsFrames(4, RATIO), whole(vocoder, latents, speaker)
    begin, end = 48, 56

    def equality(margin: int) -> float:
        inputs = frames.inputs(latents, begin - margin, end + margin, margin, margin)
        audio = np.asarray(
            vocoder.run(inputs | {"speaker": speaker.reshape(1, 512, 1)})["audio"]
        ).reshape(-1)
        return snr(audio, full[begin * HOP : end * HOP])

    assert equality(margin_needed()) >= 100
    assert equality(margin_needed() + 9) >= 100
    assert equality(2) < 60


def test_an_artifact_of_standard_operators_in_half_precision(tiny: Tiny, tmp_path: Path) -> None:
    """The export compares it with coqui-tts itself: what it reached is in its manifest."""
    xtts.export(
        tiny.checkpoint,
        Manifest("xtts-v2", "checkpoint", "source", {}, {}),
        tmp_path,
        "fp16",
        quiet,
    )
    manifest = Manifest.read(tmp_path)
    model = onnx.load(str(tmp_path / "gpt.onnx"), load_external_data=False)
    assert {node.domain for node in model.graph.node} == {""}
    decoder = manifest.graphs["token_decoder"]
    assert {spec.dtype for spec in decoder.inputs if spec.name.startswith("past_")} == {"float16"}
    assert decoder.dialect == ONNX_TENSOR_SCATTER
    assert manifest.properties["engine"] == "tensorrt"
    assert manifest.reached["gpt.kl"] < 1e-4
    assert manifest.reached["vocoder.snr_db"] >= 60
    assert manifest.reached["parity"] == 1


# --- what the export refuses


SOURCE = Manifest("xtts-v2", "checkpoint", "source", {}, {})


def test_without_coqui_tts_the_export_says_that_nothing_was_compared(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(xtts, "find_spec", lambda name: None)
    monkeypatch.setattr(xtts_parity, "reached", None)
    xtts.export(tiny.checkpoint, SOURCE, tmp_path, "fp32", quiet)
    assert caplog.messages == [
        "xtts-v2: not compared with coqui-tts, which is not installed; pip install 'voxturn[coqui]'"
    ]
    assert Manifest.read(tmp_path).reached["parity"] == 0


def test_a_stream_whose_distance_is_no_number_is_refused(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xtts, "measure", lambda path, args: (14, float("nan")))
    with pytest.raises(ExportFailed, match="streamed audio reaches nan dB"):
        xtts.export(tiny.checkpoint, SOURCE, tmp_path, "fp32", quiet)
    assert not (tmp_path / MANIFEST).exists()


def test_tolerances_that_cannot_be_met_are_named(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xtts_parity, "MOST", dict.fromkeys(xtts_parity.MOST, 0.0))
    monkeypatch.setattr(xtts_parity, "LEAST", dict.fromkeys(xtts_parity.LEAST, 1000.0))
    opened, properties = (
        XttsCheckpoint.open(tiny.checkpoint),
        dict(Manifest.read(tiny.fp32).properties),
    )
    with pytest.raises(
        ExportFailed, match=r"^the graphs differ from coqui-tts's modules: "
    ) as caught:
        xtts_parity.reached(opened, tiny.fp32, properties, "fp32")
    said = str(caught.value).split(": ", 1)[1].split("; ")
    assert [what.split()[0] for what in said] == [
        "conditioning.error",
        "speaker.error",
        "vocoder.snr_db",
    ]


GOOD = {
    "conditioning.error": 1e-6, "speaker.error": 1e-6, "vocoder.snr_db": 90.0, "gpt.greedy_steps": 200,
    "gpt.greedy_same": 200, "gpt.logits_error": 1e-6, "gpt.kl": 1e-9, "gpt.top1": 1.0, "wave.snr_db": 90.0,
}  # fmt: skip


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_value_that_is_no_number_is_a_tolerance_missed(precision: str) -> None:
    assert xtts_parity.missed(GOOD, precision) == []
    for name in GOOD:
        missed = xtts_parity.missed(GOOD | {name: float("nan")}, precision)
        assert missed
        assert all("nan" in what for what in missed)


def test_parity_gives_the_error_of_the_engine(tiny: Tiny) -> None:
    class Broken(FakeDecoder):
        def run(self, *arguments: Any) -> Any:
            raise InferenceFailed("no more")

    ids = XttsIds.from_properties(Manifest.read(tiny.fp32).properties)
    decoder = Broken(lambda prompt: 0, ids.audio_tokens, 1, ids.positions)
    with pytest.raises(InferenceFailed, match="no more"):
        xtts_parity._greedy(decoder, ids, np.zeros((32, 64), np.float32), [5, 6], 4)  # type: ignore[arg-type]


# --- the peer of the benches


def test_the_peer_leaves_a_legacy_checkpoint_as_it_is_and_is_the_original(
    tiny: Tiny, original: Any, tmp_path: Path
) -> None:
    """One that carries the configuration itself: coqui-tts's own loader rewrites it."""
    module, model = coqui.xtts_module(), tmp_path / "model.pth"
    config = module.XttsConfig()
    config.load_json(str(tiny.checkpoint / "config.json"))
    for name in ("config.json", "vocab.json", "speakers_xtts.pth"):
        (tmp_path / name).hardlink_to(tiny.checkpoint / name)
    with pytest.MonkeyPatch.context() as patch:
        for kind in (module.XttsArgs, module.XttsAudioConfig):
            patch.setattr(kind, "__module__", module.__name__)  # as official files name them
        weights = torch.load(tiny.checkpoint / "model.pth", weights_only=True)
        torch.save(weights | {"config": module.XttsConfig()}, model)
    was = {path.name: sha256_of(path) for path in tmp_path.iterdir()}
    peer = Peer(tmp_path, torch.get_num_threads())
    assert {path.name: sha256_of(path) for path in tmp_path.iterdir()} == was
    module.Xtts.init_from_config(config).load_checkpoint(config, checkpoint_dir=str(tmp_path))
    assert sha256_of(model) != was["model.pth"]
    loaded = peer.model.state_dict()
    for name, value in original.state_dict().items():
        assert TRAINING_ONLY.match(name) or torch.equal(loaded[name], value), name
    tokens = prompt(original, 1)[0]
    with torch.no_grad():
        wanted = original.gpt.generate(
            cond_latents=peer.latents, text_inputs=torch.tensor([tokens]), do_sample=False, num_beams=1,
            repetition_penalty=10.0, max_new_tokens=20,
        )[0].tolist()  # fmt: skip
    assert peer.codes(tokens, 20)["codes"][:20] == wanted[:20]
    assert peer.stream(tokens, 12)["audio_s"] > 0
