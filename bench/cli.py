"""`voxturn bench …`. Benchmarks are imported when they run: they need more than the runtime does."""

from __future__ import annotations

import argparse
from pathlib import Path

from voxturn.runtime.errors import UsageError
from voxturn.runtime.executors.catalogue import names_for


def _folder(text: str) -> Path:
    """A folder that is there; said before anything is measured."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"{text}: is no folder")
    return Path(text)


def _result(text: str) -> Path:
    """A file that can be written; said before anything is measured."""
    if not Path(text).absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text}: its folder does not exist")
    return Path(text)


def _turn(args: argparse.Namespace) -> int:
    from voxturn.bench import turn

    turn.main(args.profile, args.runs, args.json, args.reply, args.voice, args.questions).print()
    return 0


def _decode(args: argparse.Namespace) -> int:
    from voxturn.bench import decode

    decode.run(args.profile, args.precision, args.json).print()
    return 0


def _stt(args: argparse.Namespace) -> int:
    from voxturn.bench import stt

    stt.main(args.profile, args.clips, args.turns, args.json).print()
    return 0


def _parity(args: argparse.Namespace) -> int:
    from voxturn.bench import parity, parity_export

    if args.model and args.checkpoint is None:
        raise UsageError(
            f"--model {args.model} needs --checkpoint DIR, which is exported and compared"
        )
    if args.model:
        parity_export.main(args.model, args.checkpoint, args.json).print()
    else:
        parity.main(args.profile, args.json).print()
    return 0


def _speaking(args: argparse.Namespace) -> int:
    from voxturn.bench import speaking

    speaking.main(args.checkpoint, args.artifact, args.sentences, args.limit, args.json).print()
    return 0


def _tts(args: argparse.Namespace) -> int:
    from voxturn.bench import tts

    if args.peer and args.checkpoint is None:
        raise UsageError(
            "--peer coqui-tts needs --checkpoint DIR, the one that the artifact was made of"
        )
    checkpoint = args.checkpoint if args.peer else None
    tts.main(args.artifact, checkpoint, args.vocoder, args.runs, args.json).print()
    return 0


def _llm(args: argparse.Namespace) -> int:
    from voxturn.bench import llm

    llm.main(args.artifact, args.checkpoint, args.llama_python, args.runs, args.json).print()
    return 0


def _load(args: argparse.Namespace) -> int:
    from voxturn.bench import load

    try:
        streams = [int(count) for count in args.streams.split(",")]
    except ValueError:
        streams = []
    if not streams or min(streams) < 1:
        raise UsageError(f"--streams {args.streams}: must be numbers of streams, as 1,2,4")
    load.main(args.artifact, streams, args.runs, args.json, args.executor).print()
    return 0


def _roofline(args: argparse.Namespace) -> int:
    from voxturn.bench import roofline

    names = [name.strip() for name in args.gpu.split(",")]
    roofline.main(names, args.whisper, args.reply, args.voice, args.built, args.json).print()
    return 0


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `bench` to the command line."""
    bench = commands.add_parser("bench", help="measure this machine")
    kinds = bench.add_subparsers(required=True, metavar="WHAT")

    def kind(name: str, text: str, example: str = "") -> argparse.ArgumentParser:
        parser = kinds.add_parser(
            name,
            help=text,
            epilog=f"example:\n  voxturn bench {' '.join(filter(None, (name, example)))} --json {name}.json",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.add_argument("--profile", default="demo", metavar="P")
        parser.add_argument("--json", type=_result, metavar="FILE", help="write the result file")
        return parser

    parser = kind("turn", "whole turns at the pace of real time")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument(
        "--reply",
        type=_folder,
        metavar="DIR",
        help="an artifact to answer, instead of the profile's",
    )
    parser.add_argument(
        "--voice",
        type=_folder,
        metavar="DIR",
        help="an XTTS artifact to speak, instead of the profile's",
    )
    parser.add_argument(
        "--questions",
        type=_folder,
        metavar="DIR",
        help="WAV files that ask, instead of the demo's voice",
    )
    parser.set_defaults(run=_turn)
    parser = kind("decode", "the token engine: a step, prefill, the share of the memory bandwidth")
    parser.add_argument("--precision", default="", help="another precision than the profile's")
    parser.set_defaults(run=_decode)
    parser = kind(
        "stt",
        "hearing: against faster-whisper, live, end-pointing, sounds without words (20 minutes)",
    )
    parser.add_argument(
        "--clips", type=int, default=70, metavar="N", help="of each duration (default: 70)"
    )
    parser.add_argument(
        "--turns", type=int, default=12, metavar="N", help="live, of each duration (default: 12)"
    )
    parser.set_defaults(run=_stt)
    parser = kind(
        "parity", "the reply's graph against transformers, or a checkpoint in every precision"
    )
    parser.add_argument(
        "--model", choices=["xtts-v2", "qwen3"], default="", help="instead of the profile's reply"
    )
    parser.add_argument("--checkpoint", type=_folder, metavar="DIR", help="of the model")
    parser.set_defaults(run=_parity)
    parser = kind(
        "speaking",
        "an XTTS checkpoint that speaks: codes and word errors against coqui-tts",
        "--checkpoint DIR --artifact DIR/fp32 --sentences sentences.json",
    )
    parser.add_argument("--checkpoint", type=_folder, required=True, metavar="DIR")
    parser.add_argument(
        "--artifact",
        type=_folder,
        action="append",
        required=True,
        metavar="DIR",
        help="fp32 first; repeat",
    )
    parser.add_argument(
        "--sentences",
        type=Path,
        required=True,
        metavar="FILE",
        help='JSON: {"trained": […], "held_out": […]}',
    )
    parser.add_argument(
        "--limit", type=int, default=0, metavar="N", help="only the first N sentences"
    )
    parser.set_defaults(run=_speaking)
    parser = kind(
        "tts",
        "XTTS v2 streamed, against coqui-tts on the same weights",
        "--artifact DIR --checkpoint CHECKPOINT --peer coqui-tts",
    )
    parser.add_argument("--model", choices=["xtts-v2"], default="xtts-v2")
    parser.add_argument("--artifact", type=_folder, required=True, metavar="DIR")
    parser.add_argument("--peer", choices=["coqui-tts"], default="")
    parser.add_argument(
        "--checkpoint",
        type=_folder,
        metavar="DIR",
        help="for the peer: what the artifact was made of",
    )
    parser.add_argument("--vocoder", choices=["openvino", "onnx"], default="openvino")
    parser.add_argument("--runs", type=int, default=10)
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
        parser.add_argument(f"--{name}", type=_folder, required=True, metavar="DIR", help=about)
    parser.add_argument(
        "--built",
        type=Path,
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
    parser.add_argument("--artifact", type=_folder, required=True, metavar="DIR")
    parser.add_argument(
        "--executor",
        choices=[name for name in names_for("speak") if name != "triton"],
        default="onnx",
        help="what runs XTTS's GPT",
    )
    parser.add_argument(
        "--streams", default="1,2,4,8", metavar="N,N", help="how many at once (default: 1,2,4,8)"
    )
    parser.add_argument("--runs", type=int, default=12)
    parser.set_defaults(run=_load)
    parser = kind(
        "llm",
        "Qwen3's tokens and times to the first, against CTranslate2 and llama.cpp",
        "--artifact DIR/int8 --artifact DIR/int4 --checkpoint CHECKPOINT",
    )
    parser.add_argument(
        "--artifact",
        type=_folder,
        action="append",
        required=True,
        metavar="DIR",
        help="int8, int4; repeat",
    )
    parser.add_argument(
        "--checkpoint",
        type=_folder,
        metavar="DIR",
        help="for the peers: what the artifacts were made of",
    )
    parser.add_argument(
        "--llama-python", default="", metavar="FILE", help="a Python that has llama-cpp-python"
    )
    parser.add_argument("--runs", type=int, default=10)
    parser.set_defaults(run=_llm)
