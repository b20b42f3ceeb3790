"""`voxturn bench …`.

Benchmarks are imported when they run: they need more than the runtime does.
"""

from __future__ import annotations

import argparse
import shutil
import sys

from voxturn.bench import checks
from voxturn.runtime.commands.options import filled, whole
from voxturn.runtime.errors import ExecutorUnavailable, UsageError
from voxturn.runtime.executors.catalogue import executor_of, names_for
from voxturn.runtime.profile import load_profile


def _turn(args: argparse.Namespace) -> int:
    checks.needs("soxr", "tokenizers")
    if args.reply is not None:
        checks.text_model("--reply", args.reply)
    if args.voice is not None:
        checks.voice("--voice", args.voice)
    from voxturn.bench import turn

    turn.main(args.profile, args.runs, args.json, args.reply, args.voice, args.questions).print()
    return 0


def _decode(args: argparse.Namespace) -> int:
    checks.needs("tokenizers")
    from voxturn.bench import decode

    decode.run(args.profile, args.precision or "", args.json).print()
    return 0


def _stt(args: argparse.Namespace) -> int:
    load_profile(args.profile)
    checks.needs("soxr", "faster_whisper", "piper")
    if args.hard:
        from voxturn.bench import hard

        hard.main(args.profile, args.json).print()
        return 0
    from voxturn.bench import stt

    stt.main(args.profile, args.clips, args.turns, args.json).print()
    return 0


def _session(args: argparse.Namespace) -> int:
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


def _endpoint(args: argparse.Namespace) -> int:
    load_profile(args.profile)
    checks.needs("soxr", "faster_whisper", "piper")
    if args.json:
        checks.needs("matplotlib")  # it is drawn, too
    from voxturn.bench import endpoint

    endpoint.main(args.profile, args.rounds, args.json, args.words_ms, args.sound_ms).print()
    return 0


def _echo(args: argparse.Namespace) -> int:
    checks.needs("soxr", "piper", "pywebrtc_audio")
    from voxturn.bench import echo

    echo.main(args.json).print()
    return 0


def _parity(args: argparse.Namespace) -> int:
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


def _speaking(args: argparse.Namespace) -> int:
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


def _tts(args: argparse.Namespace) -> int:
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


def _llm(args: argparse.Namespace) -> int:
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


def _load(args: argparse.Namespace) -> int:
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


def _languages(args: argparse.Namespace) -> int:
    load_profile(args.profile)
    checks.needs("soxr", "faster_whisper", "piper", "num2words")
    from voxturn.bench import session_languages

    session_languages.main(args.profile, args.recordings, args.json).print()
    return 0


def _fairness(args: argparse.Namespace) -> int:
    load_profile(args.profile)
    checks.needs("piper", "tritonclient", "pytriton")
    from voxturn.bench import fairness

    fairness.main(args.profile, args.streams, args.runs, args.json).print()
    return 0


def _filter(args: argparse.Namespace) -> int:
    from voxturn.bench import filter as bench_filter

    bench_filter.main(args.json).print()
    return 0


def _faults(args: argparse.Namespace) -> int:
    checks.needs("tritonclient", "ctranslate2", "onnxruntime", "piper", "pytriton")
    from voxturn.bench import faults

    faults.main(args.kills, args.hangs, args.json).print()
    return 0


def _tools(args: argparse.Namespace) -> int:
    checks.needs("jsonschema")
    from voxturn.bench import tools

    tools.main(args.json).print()
    return 0


def _roofline(args: argparse.Namespace) -> int:
    checks.artifact("--whisper", args.whisper, ("whisper_encoder", "whisper_decoder"))
    checks.text_model("--reply", args.reply)
    checks.artifact("--reply", args.reply, (checks.TOKENS,))
    checks.voice("--voice", args.voice)
    checks.needs("onnx", "onnxruntime")
    from voxturn.bench import roofline

    names = [name.strip() for name in args.gpu.split(",")]
    roofline.main(names, args.whisper, args.reply, args.voice, args.built, args.json).print()
    return 0


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `bench` to the command line."""
    bench = commands.add_parser("bench", help="measure this machine")
    kinds = bench.add_subparsers(required=True, metavar="WHAT")

    def kind(
        name: str, text: str, example: str = "", profile: bool = False
    ) -> argparse.ArgumentParser:
        parser = kinds.add_parser(
            name,
            help=text,
            epilog=f"example:\n  voxturn bench {' '.join(filter(None, (name, example)))} --json {name}.json",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if profile:
            parser.add_argument("--profile", default="demo", metavar="P")
        parser.add_argument(
            "--json", type=checks.result("--json"), metavar="FILE", help="write the result file"
        )
        return parser

    parser = kind("turn", "whole turns at the pace of real time", profile=True)
    parser.add_argument("--runs", type=whole("--runs", 1), default=20)
    parser.add_argument(
        "--reply",
        type=checks.folder("--reply"),
        metavar="DIR",
        help="an artifact to answer, instead of the profile's",
    )
    parser.add_argument(
        "--voice",
        type=checks.folder("--voice"),
        metavar="DIR",
        help="an XTTS artifact to speak, instead of the profile's",
    )
    parser.add_argument(
        "--questions",
        type=checks.folder("--questions"),
        metavar="DIR",
        help="WAV files that ask, instead of the demo's voice",
    )
    parser.set_defaults(run=_turn)
    parser = kind(
        "decode",
        "the token engine: a step, prefill, the share of the memory bandwidth",
        profile=True,
    )
    parser.add_argument(
        "--precision",
        type=filled("--precision"),
        metavar="P",
        help="another precision than the profile's",
    )
    parser.set_defaults(run=_decode)
    parser = kind(
        "stt",
        "hearing: against faster-whisper, live, sounds without words (20 minutes)",
        profile=True,
    )
    parser.add_argument(
        "--clips",
        type=whole("--clips", 1),
        default=70,
        metavar="N",
        help="of each duration (default: 70)",
    )
    parser.add_argument(
        "--turns",
        type=whole("--turns", 1),
        default=12,
        metavar="N",
        help="live, of each duration (default: 12)",
    )
    parser.add_argument(
        "--hard",
        action="store_true",
        help="instead: what is lost of repeated speech, many languages, noise, sounds without words (6 minutes)",
    )
    parser.set_defaults(run=_stt)
    parser = kind(
        "session",
        "dialogues in a simulated room: coughs, interruptions, echo, babble (20 minutes)",
        profile=True,
    )
    for name, default, text in (
        ("dialogues", 60, "with an echo canceller"),
        ("bare", 30, "without one"),
        ("pairs", 20, "questions to a turn and to a session"),
    ):
        parser.add_argument(
            f"--{name}",
            type=whole(f"--{name}", 0),
            default=default,
            metavar="N",
            help=f"{text} (default: {default})",
        )
    parser.add_argument(
        "--minutes",
        type=whole("--minutes", 1),
        default=0,
        metavar="N",
        help="instead: one conversation of so many minutes, and what is left of it",
    )
    parser.add_argument(
        "--speed",
        type=whole("--speed", 1, 50),
        default=8,
        metavar="X",
        help="how much faster than real time those are held (default: 8)",
    )
    parser.set_defaults(run=_session)
    parser = kind(
        "endpoint",
        "when a turn ends: silence, words, sound or both, against each other (15 minutes)",
        profile=True,
    )
    parser.add_argument(
        "--rounds",
        type=whole("--rounds", 1),
        default=1,
        metavar="N",
        help="of every sentence, by other voices and with other pauses (default: 1)",
    )
    for judge in ("words", "sound"):
        parser.add_argument(
            f"--{judge}-ms",
            type=whole(f"--{judge}-ms", 1),
            metavar="MS",
            help=f"take the {judge} as known so late, as where nothing else runs (default: as measured)",
        )
    parser.set_defaults(run=_endpoint)
    parser = kind("echo", "how much of the loudspeaker is left in the microphone")
    parser.set_defaults(run=_echo)
    parser = kind(
        "parity",
        "the reply's graph against transformers, or a checkpoint in every precision",
        profile=True,
    )
    parser.add_argument(
        "--model", choices=["xtts-v2", "qwen3"], default="", help="instead of the profile's reply"
    )
    parser.add_argument(
        "--checkpoint", type=checks.folder("--checkpoint"), metavar="DIR", help="of the model"
    )
    parser.set_defaults(profile=None)
    parser.set_defaults(run=_parity)
    parser = kind(
        "speaking",
        "an XTTS checkpoint that speaks: codes and word errors against coqui-tts",
        "--checkpoint DIR --artifact DIR/fp32 --sentences sentences.json",
    )
    parser.add_argument(
        "--checkpoint", type=checks.folder("--checkpoint"), required=True, metavar="DIR"
    )
    parser.add_argument(
        "--artifact",
        type=checks.folder("--artifact"),
        action="append",
        required=True,
        metavar="DIR",
        help="fp32 first; repeat",
    )
    parser.add_argument(
        "--sentences",
        type=checks.file("--sentences"),
        required=True,
        metavar="FILE",
        help='JSON: {"trained": […], "held_out": […]}',
    )
    parser.add_argument(
        "--limit", type=whole("--limit", 1), metavar="N", help="only the first N sentences"
    )
    parser.set_defaults(run=_speaking)
    parser = kind(
        "tts",
        "XTTS v2 streamed, against coqui-tts on the same weights",
        "--artifact DIR --checkpoint CHECKPOINT --peer coqui-tts",
    )
    parser.add_argument("--model", choices=["xtts-v2"], default="xtts-v2")
    parser.add_argument(
        "--artifact", type=checks.folder("--artifact"), required=True, metavar="DIR"
    )
    parser.add_argument("--peer", choices=["coqui-tts"], default="")
    parser.add_argument(
        "--checkpoint",
        type=checks.folder("--checkpoint"),
        metavar="DIR",
        help="for the peer: what the artifact was made of",
    )
    parser.add_argument("--vocoder", choices=["openvino", "onnx"], default="openvino")
    parser.add_argument("--runs", type=whole("--runs", 1), default=10)
    parser.set_defaults(run=_tts)
    parser = kind(
        "roofline",
        "the turn on paper: what a GPU cannot be faster than; never a measurement",
        "--gpu l4,4090,h100 --whisper DIR --reply DIR --voice DIR --built bench/results/verify-gpu.json",
    )
    parser.add_argument(
        "--gpu", default="l4,4090,h100", metavar="NAME,NAME", help="of l4, 4090, a100, h100"
    )
    for name in ("whisper", "reply", "voice"):
        about = "an artifact in standard operators (export … --for tensorrt)"
        parser.add_argument(
            f"--{name}", type=checks.folder(f"--{name}"), required=True, metavar="DIR", help=about
        )
    parser.add_argument(
        "--built",
        type=checks.built,
        metavar="FILE",
        action="append",
        default=[],
        help="what `make verify-gpu` wrote, for kernel launches; repeat",
    )
    parser.set_defaults(run=_roofline)
    parser = kind(
        "load",
        "XTTS behind Triton: against the same in process, and many streams at once",
        "--artifact DIR",
    )
    parser.add_argument("--target", choices=["triton"], default="triton")
    parser.add_argument(
        "--artifact", type=checks.folder("--artifact"), required=True, metavar="DIR"
    )
    parser.add_argument(
        "--executor",
        choices=[name for name in names_for("speak") if not executor_of(name).remote],
        default="onnx",
        help="what runs XTTS's GPT",
    )
    parser.add_argument(
        "--streams",
        type=checks.streams,
        default="1,2,4,8",
        metavar="N,N",
        help="how many at once (default: 1,2,4,8)",
    )
    parser.add_argument("--runs", type=whole("--runs", 1), default=12)
    parser.set_defaults(run=_load)
    parser = kind(
        "fairness",
        "four clients of the served VITS voice, alone and beside one that sends the worst texts",
        profile=True,
    )
    parser.add_argument(
        "--streams",
        type=checks.streams,
        default="4,16",
        metavar="N,N",
        help="how many texts the greedy client has under way (default: 4,16)",
    )
    parser.add_argument("--runs", type=whole("--runs", 1), default=6)
    parser.set_defaults(run=_fairness)
    parser = kind(
        "languages",
        "a dialogue that changes between Arabic and English at every turn, typed and spoken (a minute)",
        profile=True,
    )
    parser.add_argument(
        "--recordings",
        type=checks.folder("--recordings"),
        metavar="DIR",
        help="20 WAV files that ask, in the order of bench/languages.toml, instead of espeak-ng",
    )
    parser.set_defaults(run=_languages)
    parser = kind(
        "filter",
        "the content filter: a clause in 17 languages, disguised words, harmless ones (seconds)",
    )
    parser.set_defaults(run=_filter)
    parser = kind(
        "faults",
        "the demo behind Triton: models killed and stopped under load, and how soon they answer again (5 minutes)",
    )
    parser.add_argument(
        "--kills", type=whole("--kills", 1), default=20, metavar="N", help="(default: 20)"
    )
    parser.add_argument(
        "--hangs", type=whole("--hangs", 1), default=10, metavar="N", help="(default: 10)"
    )
    parser.set_defaults(run=_faults)
    parser = kind(
        "tools",
        "a hundred scripted answers with calls of functions, cut in every way: how they end (10 seconds)",
    )
    parser.set_defaults(run=_tools)
    parser = kind(
        "llm",
        "Qwen3's tokens and times to the first, against CTranslate2 and llama.cpp",
        "--artifact DIR/int8 --artifact DIR/int4 --checkpoint CHECKPOINT",
    )
    parser.add_argument(
        "--artifact",
        type=checks.folder("--artifact"),
        action="append",
        required=True,
        metavar="DIR",
        help="int8, int4; repeat",
    )
    parser.add_argument(
        "--checkpoint",
        type=checks.folder("--checkpoint"),
        metavar="DIR",
        help="for the peers: what the artifacts were made of",
    )
    parser.add_argument(
        "--llama-python", default="", metavar="FILE", help="a Python that has llama-cpp-python"
    )
    parser.add_argument("--runs", type=whole("--runs", 1), default=10)
    parser.set_defaults(run=_llm)
