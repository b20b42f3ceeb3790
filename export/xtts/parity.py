"""Every graph of an XTTS artifact against coqui-tts's own, unpatched modules: what the manifest's
`reached` says.

conditioning.error, speaker.error   greatest absolute difference over the greatest value; the speaker's from samples
vocoder.snr_db                      the whole decode of random latents
gpt.greedy_steps, gpt.greedy_same   greedy codes under the repetition penalty: steps compared, steps before they part
gpt.logits_error, gpt.kl, gpt.top1  along 500 given codes: error as above, KL in nats (mean), equal first choices
wave.snr_db                         given codes to samples, GPT and vocoder
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from voxturn.export.artifact import contract_of
from voxturn.export.checkpoint import Float
from voxturn.export.coqui import modules as coqui
from voxturn.export.parity import log_softmax
from voxturn.export.xtts.checkpoint import XttsCheckpoint
from voxturn.runtime.decode.engine import DecodeEngine
from voxturn.runtime.decode.sampler import Sampling
from voxturn.runtime.errors import ExportFailed
from voxturn.runtime.executors.onnx import OnnxDecoder, OnnxGraph
from voxturn.runtime.families.xtts.frames import XttsFrames
from voxturn.runtime.families.xtts.prompt import SpeechOptions, XttsIds, rows_of, speech
from voxturn.runtime.families.xtts.voices import Cloner
from voxturn.runtime.flow.scheduling import Cores

_GREEDY_STEPS, _GIVEN_STEPS, _TEXT_TOKENS, _MOST_LATENTS = 200, 500, 24, 100
MOST = {"conditioning.error": 1e-4, "speaker.error": 1e-4}
LEAST = {"vocoder.snr_db": 60.0}
LEAST_HALF = {"vocoder.snr_db": 40.0}
MOST_FP32, LEAST_FP32 = {"gpt.logits_error": 1e-4}, {"wave.snr_db": 60.0}


class Original:
    """coqui-tts's modules with the checkpoint's weights."""

    def __init__(self, opened: XttsCheckpoint) -> None:
        import torch

        self.model = coqui.load(opened)
        self.gpt = self.model.gpt
        self.decoder = self.model.hifigan_decoder
        self.torch = torch

    def logits(self, latents: Float, tokens: list[int], codes: list[int]) -> tuple[Float, Float]:
        """Logits and final states `[len(codes), …]` that each given code was chosen from."""
        t, gpt = self.torch, self.gpt
        text = t.tensor([[gpt.start_text_token, *tokens, gpt.stop_text_token]])
        audio = t.tensor([[gpt.start_audio_token, *codes[:-1]]])
        with t.no_grad():
            prefix = t.cat(
                [
                    t.from_numpy(latents[None]),
                    gpt.text_embedding(text) + gpt.text_pos_embedding(text),
                ],
                1,
            )
            embedded = t.cat([prefix, gpt.mel_embedding(audio) + gpt.mel_pos_embedding(audio)], 1)
            states = gpt.final_norm(
                gpt.gpt(inputs_embeds=embedded, return_dict=True).last_hidden_state
            )
            states = states[:, prefix.shape[1] :]
            return gpt.mel_head(states)[0].numpy(), states[0].numpy()

    def greedy(self, latents: Float, tokens: list[int]) -> list[int]:
        """`GPT.generate` without sampling, at upstream's repetition penalty."""
        self.gpt.max_gen_mel_tokens = _GREEDY_STEPS
        with self.torch.no_grad():
            codes = self.gpt.generate(
                cond_latents=self.torch.from_numpy(latents[None]),
                text_inputs=self.torch.tensor([tokens]),
                do_sample=False,
                num_beams=1,
                repetition_penalty=10.0,
            )
        found: list[int] = codes[0].tolist()
        return found

    def run(self, call: Any, *arrays: Float, **options: Any) -> Float:
        """A module's answer to arrays."""
        with self.torch.no_grad():
            return np.asarray(
                call(*(self.torch.from_numpy(a.copy()) for a in arrays), **options).numpy()
            )


def reached(
    opened: XttsCheckpoint, folder: Path, properties: dict[str, Any], precision: str
) -> dict[str, float]:
    """Measure an artifact. Raises `ExportFailed` that names every tolerance that was missed."""
    original, random = Original(opened), np.random.default_rng(0)
    count = min(int(properties["max_latents"]), _MOST_LATENTS)
    latents = random.standard_normal(
        (count, opened.args.gpt_n_model_channels), np.float32
    ) * np.float32(0.1)
    tokens = [
        int(t) for t in random.integers(2, opened.args.gpt_number_text_tokens - 1, _TEXT_TOKENS)
    ]
    figures = _front(original, folder, properties, random) | _gpt(
        original, folder, properties, latents, tokens, random
    )
    if what := missed(figures, precision):
        raise ExportFailed(f"the graphs differ from coqui-tts's modules: {'; '.join(what)}")
    return {name: float(f"{value:.4g}") for name, value in figures.items()}


def missed(figures: dict[str, float], precision: str) -> list[str]:
    """Every tolerance that was missed, and every value that is no number."""
    fp32 = precision == "fp32"
    exceptions = {"fp32": LEAST_FP32, "fp16": LEAST_HALF}
    most, least = MOST | (MOST_FP32 if fp32 else {}), LEAST | exceptions.get(precision, {})
    if fp32:
        least = least | {"gpt.greedy_same": figures["gpt.greedy_steps"]}
    out = [f"{k} {figures[k]:.3g} (at most {v:g})" for k, v in most.items() if not figures[k] <= v]
    out += [
        f"{k} {figures[k]:.1f} (at least {v:g})" for k, v in least.items() if not figures[k] >= v
    ]
    return out + [
        f"{k} {v}" for k, v in figures.items() if k not in most | least and not np.isfinite(v)
    ]


def _front(
    original: Original, folder: Path, properties: dict[str, Any], random: np.random.Generator
) -> dict[str, float]:
    conditioning, speaker = (
        _graph(folder, "conditioning"),
        _graph(folder, "speaker"),
    )
    try:
        mel = random.standard_normal((1, 80, 259), np.float32)
        wanted = original.run(original.gpt.get_style_emb, mel).transpose(0, 2, 1)
        samples = random.standard_normal(32000, np.float32) * np.float32(0.1)
        embedding = original.run(original.decoder.speaker_encoder, samples[None], l2_norm=True)
        cloner = Cloner(folder, properties, conditioning, speaker)
        return {
            "conditioning.error": _error(conditioning.run({"mel": mel})["latents"], wanted),
            "speaker.error": _error(cloner.embedding(samples)[None], embedding),
        }
    finally:
        conditioning.close()
        speaker.close()


def _gpt(
    original: Original,
    folder: Path,
    properties: dict[str, Any],
    latents: Float,
    tokens: list[int],
    random: np.random.Generator,
) -> dict[str, float]:
    ids = XttsIds.from_properties(properties)
    path = folder / "gpt.onnx"
    decoder = OnnxDecoder(
        path, contract_of(path), Cores().budget("speak", 0, spin=True), 1, ids.positions
    )
    vocoder = _graph(folder, "vocoder")
    try:
        theirs = original.greedy(latents, tokens)
        ours = _greedy(decoder, ids, latents, tokens, len(theirs))
        shorter = min(len(ours), len(theirs))
        same = next((i for i in range(shorter) if ours[i] != theirs[i]), shorter)
        codes = [int(c) for c in random.integers(0, ids.start_audio - 1, _GIVEN_STEPS)]
        wanted, wanted_states = original.logits(latents, tokens, codes)
        logits, states = _given(decoder, ids, latents, tokens, codes)
        p, q = log_softmax(wanted), log_softmax(logits)
        voice = random.standard_normal(
            (1, int(properties["d_vector_dim"]), 1), np.float32
        ) * np.float32(0.04)
        probe = random.standard_normal((60, states.shape[1]), np.float32)
        wave = original.run(
            original.decoder, wanted_states[None, :120], g=original.torch.from_numpy(voice)
        )
        whole = original.run(original.decoder, probe[None], g=original.torch.from_numpy(voice))
        return {
            "gpt.greedy_steps": len(theirs),
            "gpt.greedy_same": same,
            "gpt.logits_error": _error(logits, wanted),
            "gpt.kl": float((np.exp(p) * (p - q)).sum(-1).mean()),
            "gpt.top1": float((p.argmax(-1) == q.argmax(-1)).mean()),
            "vocoder.snr_db": _snr(_decode(vocoder, properties, probe, voice), whole.reshape(-1)),
            "wave.snr_db": _snr(
                _decode(vocoder, properties, states[:120], voice), wave.reshape(-1)
            ),
        }
    finally:
        decoder.close()
        vocoder.close()


def _greedy(
    decoder: OnnxDecoder, ids: XttsIds, latents: Float, tokens: list[int], most: int
) -> list[int]:
    engine = DecodeEngine(decoder)
    options = SpeechOptions(Sampling(repetition_penalty=10.0))
    generation = engine.add(speech(ids, "parity", latents, tokens, options), limit=most)
    while engine.busy:
        engine.step()
    if generation.error is not None:
        raise generation.error
    generation.cancelled = True
    engine.step()
    return [step.token for step in generation.out]


def _given(
    decoder: OnnxDecoder, ids: XttsIds, latents: Float, tokens: list[int], codes: list[int]
) -> tuple[Float, Float]:
    prompt = np.array(
        [[*ids.voice(len(latents)), *ids.text(tokens), ids.code(ids.start_audio, 0)]], np.int64
    )
    outputs = decoder.run(0, prompt, [0], rows_of(latents))
    logits, states = [outputs.logits[0].copy()], [outputs.hidden[0].copy()]
    for number, code in enumerate(codes[:-1], 1):
        outputs = decoder.run(
            0, np.array([[ids.code(code, number)]], np.int64), [prompt.size + number - 1]
        )
        logits.append(outputs.logits[0].copy())
        states.append(outputs.hidden[0].copy())
    return np.stack(logits), np.stack(states)


def _graph(folder: Path, name: str) -> OnnxGraph:
    path = folder / f"{name}.onnx"
    return OnnxGraph(path, contract_of(path), Cores().budget("vocode", 0))


def _decode(vocoder: OnnxGraph, p: dict[str, Any], latents: Float, voice: Float) -> Float:
    hop = int(p["output_hop_length"])
    frames = XttsFrames(
        int(p["gpt_code_stride_len"]) // hop,
        int(p["output_sample_rate"]) / int(p["input_sample_rate"]),
    )
    inputs = frames.inputs(latents, 0, frames.count(len(latents)), 0, 0)
    return np.asarray(vocoder.run(inputs | {"speaker": voice})["audio"]).reshape(-1)


def _error(got: Float, wanted: Float) -> float:
    return float(np.abs(got - wanted).max() / np.abs(wanted).max())


def _snr(got: Float, wanted: Float) -> float:
    error = (got.astype(np.float64) - wanted) ** 2
    return float(10 * np.log10((wanted.astype(np.float64) ** 2).sum() / max(error.sum(), 1e-30)))
