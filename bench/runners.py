"""What `voxturn bench …` runs: what was given is checked, then a benchmark is imported and measures.

Benchmarks are imported when they run: they need more than the runtime does.
"""

from __future__ import annotations

import argparse
import shutil
import sys

from voxturn.bench import checks
from voxturn.runtime.errors import ExecutorUnavailable, UsageError
from voxturn.runtime.executors.catalogue import executor_of
from voxturn.runtime.profile import load_profile


def turn(args: argparse.Namespace) -> int:
    checks.needs("soxr", "tokenizers")
    if args.reply is not None:
        checks.text_model("--reply", args.reply)
    if args.voice is not None:
        checks.voice("--voice", args.voice)
    from voxturn.bench import turn

    turn.main(args.profile, args.runs, args.json, args.reply, args.voice, args.questions).print()
    return 0


def decode(args: argparse.Namespace) -> int:
    checks.needs("tokenizers")
    from voxturn.bench import decode

    decode.run(args.profile, args.precision or "", args.json).print()
    return 0


def stt(args: argparse.Namespace) -> int:
    load_profile(args.profile)
    checks.needs("soxr", "faster_whisper", "piper")
    if args.hard:
        from voxturn.bench import hard

        hard.main(args.profile, args.json).print()
        return 0
    from voxturn.bench import stt

    stt.main(args.profile, args.clips, args.turns, args.json).print()
    return 0


def telephony(args: argparse.Namespace) -> int:
    load_profile(args.profile)
    checks.needs("soxr", "piper")
    from voxturn.bench import telephony

    telephony.main(args.profile, args.clips, args.json).print()
    return 0


def session(args: argparse.Namespace) -> int:
    load_profile(args.profile)
    checks.needs("soxr", "piper", "tokenizers")
    if args.minutes:
        from voxturn.bench import marathon

        marathon.main(args.profile, args.minutes, args.speed, args.json).print()
        return 0
    checks.needs("pywebrtc_audio")
    from voxturn.bench import sessions

    sessions.main(args.profile, args.dialogues, args.bare, args.pairs, args.json).print()
    return 0


def gateway(args: argparse.Namespace) -> int:
    load_profile(args.profile)
    checks.needs("soxr", "tokenizers", "starlette", "websockets")
    from voxturn.bench import gateway

    gateway.main(
        args.profile,
        args.pairs,
        args.rates,
        args.minutes,
        args.idle,
        args.places,
        (args.soak, args.soak_minutes),
        args.json,
    ).print()
    return 0


def gateway_faults(args: argparse.Namespace) -> int:
    load_profile(args.profile)
    checks.needs("starlette", "websockets", *(["tritonclient"] if args.triton else []))
    if args.triton:
        checks.command("--triton", args.triton)
    from voxturn.bench import gateway_faults

    profile = None if args.fake else args.profile
    gateway_faults.main(
        profile,
        args.connections,
        args.messages,
        args.kills,
        args.triton,
        args.engine_kills,
        args.seed,
        args.json,
    ).print()
    return 0


def page(args: argparse.Namespace) -> int:
    load_profile(args.profile)
    checks.command("--voxturn", args.voxturn)
    from voxturn.bench import page

    page.main(args.profile, args.rounds, args.voxturn, args.json).print()
    return 0


def endpoint(args: argparse.Namespace) -> int:
    load_profile(args.profile)
    checks.needs("soxr", "faster_whisper", "piper")
    if args.json:
        checks.needs("matplotlib")  # it is drawn, too
    from voxturn.bench import endpoint

    endpoint.main(args.profile, args.rounds, args.json, args.words_ms, args.sound_ms).print()
    return 0


def echo(args: argparse.Namespace) -> int:
    checks.needs("soxr", "piper", "pywebrtc_audio")
    from voxturn.bench import echo

    echo.main(args.json).print()
    return 0


def parity(args: argparse.Namespace) -> int:
    if not args.model and args.checkpoint is not None:
        raise UsageError("--checkpoint goes with --model; a profile's model brings its own")
    if args.model and args.profile is not None:
        raise UsageError("--profile goes without --model; give one of them")
    if args.model and args.checkpoint is None:
        raise UsageError(
            f"--model {args.model} needs --checkpoint DIR, which is exported and compared"
        )
    checks.needs("onnx", "onnxruntime", "tokenizers")
    if args.model:
        if args.model == "xtts-v2":
            checks.needs("torch", "TTS")
            checks.checkpoint(args.checkpoint, checks.XTTS_FILES[:3])
        else:
            checks.needs("safetensors")
            checks.checkpoint(args.checkpoint, checks.TEXT_FILES)
        from voxturn.bench import parity_export

        parity_export.main(args.model, args.checkpoint, args.json).print()
    else:
        checks.needs("gguf", "torch", "transformers")
        from voxturn.bench import parity

        parity.main("demo" if args.profile is None else args.profile, args.json).print()
    return 0


def speaking(args: argparse.Namespace) -> int:
    checks.sentences(args.sentences)
    checks.checkpoint(args.checkpoint, checks.XTTS_FILES)
    for path in args.artifact:
        checks.voice("--artifact", path)
    names = [path.resolve().name for path in args.artifact]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"--artifact {twice[0]}: two folders have this name; results go by it")
    checks.needs("soxr", "tqdm", "openvino", "torch", "TTS")
    from voxturn.bench import speaking

    speaking.main(
        args.checkpoint, args.artifact, args.sentences, args.limit or 0, args.json
    ).print()
    return 0


def tts(args: argparse.Namespace) -> int:
    if args.peer and args.checkpoint is None:
        raise UsageError(
            "--peer coqui-tts needs --checkpoint DIR, the one that the artifact was made of"
        )
    if args.checkpoint is not None and not args.peer:
        raise UsageError("--checkpoint goes with --peer coqui-tts, which reads it")
    checks.voice("--artifact", args.artifact)
    if args.peer:
        checks.checkpoint(args.checkpoint, checks.XTTS_FILES)
        checks.needs("torch", "TTS")
    checks.needs(executor_of(args.vocoder).packages[0])
    from voxturn.bench import tts

    tts.main(args.artifact, args.checkpoint, args.vocoder, args.runs, args.json).print()
    return 0


def coqui(args: argparse.Namespace) -> int:
    checks.needs("onnx", "onnxruntime", "torch", "TTS")
    from voxturn.bench import coqui

    names = [name.strip() for name in args.only.split(",") if name.strip()]
    coqui.main(names, args.size, args.runs, args.json).print()
    return 0


def llm(args: argparse.Namespace) -> int:
    checks.needs("gguf", "tokenizers")
    from voxturn.bench import llm

    if args.llama_python:
        if args.checkpoint is None:
            raise UsageError("--llama-python needs --checkpoint DIR, for the peer's weights")
        if shutil.which(args.llama_python) is None:
            raise UsageError(f"--llama-python {args.llama_python}: is no program")
    for path in args.artifact:
        manifest = checks.text_model("--artifact", path)
        if checks.TOKENS not in manifest.graphs:
            raise UsageError(
                f"--artifact {path}: has no graph {checks.TOKENS!r}; export it with --for onnx"
            )
        if args.llama_python and manifest.precision not in llm.GGML:
            raise UsageError(
                f"--artifact {path}: has {manifest.precision}; llama.cpp is compared in {', '.join(llm.GGML)}"
            )
    if args.checkpoint is not None:
        checks.needs("safetensors", "ctranslate2")
        checks.checkpoint(args.checkpoint, checks.TEXT_FILES)
    llm.main(args.artifact, args.checkpoint, args.llama_python, args.runs, args.json).print()
    return 0


def load(args: argparse.Namespace) -> int:
    checks.voice("--artifact", args.artifact)
    checks.needs("tritonclient", "pytriton")
    if args.json:
        checks.needs("matplotlib")  # it is drawn, too
    if shutil.which("perf_analyzer", path=f"{sys.exec_prefix}/bin") is None:
        raise ExecutorUnavailable(
            "perf_analyzer is not here; pip install 'voxturn[triton-embedded]' brings it"
        )
    from voxturn.bench import load

    load.main(args.artifact, args.streams, args.runs, args.json, args.executor).print()
    return 0


def languages(args: argparse.Namespace) -> int:
    load_profile(args.profile)
    checks.needs("soxr", "faster_whisper", "piper", "num2words")
    from voxturn.bench import session_languages

    session_languages.main(args.profile, args.recordings, args.json).print()
    return 0


def fairness(args: argparse.Namespace) -> int:
    load_profile(args.profile)
    checks.needs("piper", "tritonclient", "pytriton")
    from voxturn.bench import fairness

    fairness.main(args.profile, args.streams, args.runs, args.json).print()
    return 0


def content_filter(args: argparse.Namespace) -> int:
    from voxturn.bench import filter as bench_filter

    bench_filter.main(args.json).print()
    return 0


def faults(args: argparse.Namespace) -> int:
    checks.needs("tritonclient", "ctranslate2", "onnxruntime", "piper", "pytriton")
    from voxturn.bench import faults

    faults.main(args.kills, args.hangs, args.json).print()
    return 0


def tools(args: argparse.Namespace) -> int:
    checks.needs("jsonschema")
    from voxturn.bench import tools

    tools.main(args.json).print()
    return 0


def roofline(args: argparse.Namespace) -> int:
    checks.artifact("--whisper", args.whisper, ("whisper_encoder", "whisper_decoder"))
    checks.text_model("--reply", args.reply)
    checks.artifact("--reply", args.reply, (checks.TOKENS,))
    checks.voice("--voice", args.voice)
    checks.needs("onnx", "onnxruntime")
    from voxturn.bench import roofline

    names = [name.strip() for name in args.gpu.split(",")]
    roofline.main(names, args.whisper, args.reply, args.voice, args.built, args.json).print()
    return 0
