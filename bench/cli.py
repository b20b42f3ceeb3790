"""`voxturn bench …`: every benchmark and its options."""

from __future__ import annotations

import argparse

from voxturn.bench import checks, runners
from voxturn.runtime.commands.options import filled, whole
from voxturn.runtime.executors.catalogue import executor_of, names_for


def count(
    parser: argparse.ArgumentParser, name: str, default: int, text: str, least: int = 1
) -> None:
    """Add an option that is a number of something."""
    parser.add_argument(
        f"--{name}",
        type=whole(f"--{name}", least),
        default=default,
        metavar="N",
        help=f"{text} (default: {default})",
    )


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
    parser.set_defaults(run=runners.turn)
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
    parser.set_defaults(run=runners.decode)
    parser = kind(
        "stt",
        "hearing: against faster-whisper, live, sounds without words (20 minutes)",
        profile=True,
    )
    count(parser, "clips", 70, "of each duration")
    count(parser, "turns", 12, "live, of each duration")
    parser.add_argument(
        "--hard",
        action="store_true",
        help="instead: what is lost of repeated speech, many languages, noise, sounds without words (6 minutes)",
    )
    parser.set_defaults(run=runners.stt)
    parser = kind(
        "telephony",
        "word errors of what comes over a telephone line, beside the same in 16 kHz and the line's parts alone (3 minutes)",
        profile=True,
    )
    count(parser, "clips", 12, "of each duration")
    parser.set_defaults(run=runners.telephony)
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
        count(parser, name, default, text, least=0)
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
    parser.set_defaults(run=runners.session)
    parser = kind(
        "gateway",
        "the gateway against the session in process, under load, and idle (25 minutes)",
        profile=True,
    )
    count(parser, "pairs", 20, "questions, each over both ways", least=0)
    parser.add_argument(
        "--rates",
        type=checks.numbers("--rates"),
        default=[3.0, 6.0, 9.0, 12.0],
        metavar="A,B",
        help="conversations of three turns that arrive in a minute (default: 3,6,9,12)",
    )
    count(parser, "minutes", 4, "of each rate")
    count(parser, "idle", 256, "connections that say nothing", least=0)
    count(parser, "soak", 8, "conversations at once at the voice endpoint", least=0)
    count(parser, "soak-minutes", 5, "how long")
    parser.add_argument(
        "--places",
        type=whole("--places", 0),
        default=0,
        metavar="N",
        help="conversations at once (default: as the profile has it)",
    )
    parser.set_defaults(run=runners.gateway)
    parser = kind(
        "gateway-faults",
        "the gateway when clients vanish or send nonsense, and when it is killed (10 minutes)",
        profile=True,
    )
    parser.add_argument(
        "--fake", action="store_true", help="stages without models, instead of the profile's"
    )
    parser.add_argument(
        "--triton",
        default="",
        metavar="VOXTURN",
        help="kill engines, too: the voxturn of an environment that has the server",
    )
    for name, default, text in (
        ("connections", 200, "that break at random moments"),
        ("messages", 1000, "and requests with wrong bytes"),
        ("kills", 5, "of the gateway while it writes"),
        ("engine-kills", 20, "of a model's process behind the gateway"),
        ("seed", 21, "of all that is by chance"),
    ):
        count(parser, name, default, text)
    parser.set_defaults(run=runners.gateway_faults)
    parser = kind(
        "page",
        "the gateway's page in Chromium against the session in process (5 minutes)",
        profile=True,
    )
    parser.add_argument(
        "--voxturn",
        required=True,
        metavar="VOXTURN",
        help="the voxturn of the environment that has the engines: this one has Playwright",
    )
    count(parser, "rounds", 20, "questions, each over both ways")
    parser.set_defaults(run=runners.page)
    parser = kind(
        "endpoint",
        "when a turn ends: silence, words, sound or both, against each other (15 minutes)",
        profile=True,
    )
    count(parser, "rounds", 1, "of every sentence, by other voices and with other pauses")
    for judge in ("words", "sound"):
        parser.add_argument(
            f"--{judge}-ms",
            type=whole(f"--{judge}-ms", 1),
            metavar="MS",
            help=f"take the {judge} as known so late, as where nothing else runs (default: as measured)",
        )
    parser.set_defaults(run=runners.endpoint)
    parser = kind("echo", "how much of the loudspeaker is left in the microphone")
    parser.set_defaults(run=runners.echo)
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
    parser.set_defaults(run=runners.parity)
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
    parser.set_defaults(run=runners.speaking)
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
    parser.set_defaults(run=runners.tts)
    parser = kind(
        "coqui",
        "Coqui's families at full size with random weights, against coqui-tts (12 minutes)",
    )
    parser.add_argument(
        "--only",
        default="",
        metavar="NAME,NAME",
        help="rows of bench/coqui.py, as vits or glow_tts+hifigan_v2 (default: all)",
    )
    parser.add_argument("--size", choices=["full", "tiny"], default="full")
    count(parser, "runs", 6, "of each row")
    parser.set_defaults(run=runners.coqui)
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
    parser.set_defaults(run=runners.roofline)
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
    parser.set_defaults(run=runners.load)
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
    parser.set_defaults(run=runners.fairness)
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
    parser.set_defaults(run=runners.languages)
    parser = kind(
        "filter",
        "the content filter: a clause in 17 languages, disguised words, harmless ones (seconds)",
    )
    parser.set_defaults(run=runners.content_filter)
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
    parser.set_defaults(run=runners.faults)
    parser = kind(
        "tools",
        "a hundred scripted answers with calls of functions, cut in every way: how they end (10 seconds)",
    )
    parser.set_defaults(run=runners.tools)
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
    parser.set_defaults(run=runners.llm)
