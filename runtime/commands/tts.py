"""`voxturn tts`: coqui-tts's command line, for scripts that were written for it.

Source of the flags: coqui-tts 0.28, `TTS/bin/synthesize.py`; docs/coqui-names.md says flag by flag
what is there.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from contextlib import ExitStack

from voxturn.runtime.commands.console import Sink
from voxturn.runtime.coqui import TTS
from voxturn.runtime.errors import UsageError
from voxturn.runtime.models.registry import Registry

_DEFAULT = "tts_models/en/ljspeech/tacotron2-DDC"
_ABSENT = {
    "vocoder_name": "an artifact has its vocoder",
    "vocoder_path": "export the voice with --vocoder",
    "vocoder_config_path": "export the voice with --vocoder",
    "config_path": "it lies beside the model: name the exported folder as --model_path",
    "speakers_file_path": "it lies beside the model, and is exported with it",
    "encoder_path": "it lies beside the model, and is exported with it",
    "encoder_config_path": "it lies beside the model, and is exported with it",
    "voice_dir": "cloned voices are heard anew each time",
}
"""Flags of coqui-tts that mean nothing here, and why."""


def tts(args: argparse.Namespace) -> int:
    """Say a text, or tell of models."""
    if absent := next((flag for flag in _ABSENT if getattr(args, flag)), None):
        raise UsageError(f"--{absent}: {_ABSENT[absent]}")
    if args.list_models:
        print("\n".join(Registry.read().models))
        return 0
    if args.model_info_by_name:
        model, _ = Registry.read().resolve(args.model_info_by_name)
        print(json.dumps(dataclasses.asdict(model), indent=1, ensure_ascii=False))
        return 0
    lists = args.list_speaker_idxs or args.list_language_idxs
    converts = args.source_wav is not None and args.target_wav
    if args.text is None and not (lists or converts):
        raise UsageError("--text is missing, or a source_wav and a target_wav")
    with ExitStack() as stack:
        voice = stack.enter_context(
            TTS(
                "" if args.model_path else args.model_name,
                model_path=args.model_path,
                progress_bar=args.progress_bar,
            ).to("cuda" if args.use_cuda else args.device)
        )
        if lists:
            names = voice.speakers if args.list_speaker_idxs else voice.languages
            print("\n".join(names or ()))
            return 0
        if args.text is not None:
            chunks = voice.stream(
                args.text,
                speaker=args.speaker_idx,
                language=args.language_idx,
                speaker_wav=args.speaker_wav,
            )
        else:
            chunks = voice.stream_conversion(args.source_wav, args.target_wav)
        output = "-" if args.pipe_out else args.out_path
        with Sink(output, voice.output_sample_rate, False) as sink:
            for chunk in chunks:
                sink.write(chunk.samples)
    return 0


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this file's command."""
    parser = commands.add_parser("tts", help="say a text, with the flags of coqui-tts's `tts`")
    parser.add_argument("--text", metavar="TEXT")
    parser.add_argument(
        "--model_name",
        default=_DEFAULT,
        metavar="NAME",
        help=f"of `--list_models`, or an artifact's folder (default: {_DEFAULT})",
    )
    parser.add_argument("--model_path", metavar="DIR", help="an exported artifact's folder")
    parser.add_argument(
        "--out_path", default="tts_output.wav", metavar="FILE", help="(default: tts_output.wav)"
    )
    parser.add_argument("--pipe_out", action="store_true", help="write the WAV to standard output")
    parser.add_argument("--speaker_idx", metavar="NAME", help="of `--list_speaker_idxs`")
    parser.add_argument("--language_idx", metavar="CODE", help="of `--list_language_idxs`")
    parser.add_argument(
        "--speaker_wav", nargs="+", metavar="FILE", help="recordings of a speaker to clone"
    )
    parser.add_argument("--source_wav", metavar="FILE", help="speech to convert")
    parser.add_argument(
        "--target_wav", nargs="*", metavar="FILE", help="recordings of the voice that it is to have"
    )
    parser.add_argument("--list_models", action="store_true")
    parser.add_argument("--list_speaker_idxs", action="store_true")
    parser.add_argument("--list_language_idxs", action="store_true")
    parser.add_argument("--model_info_by_name", metavar="NAME")
    parser.add_argument(
        "--progress_bar",
        type=lambda value: value.lower() not in ("0", "false", "no"),
        default=True,
        metavar="BOOL",
    )
    parser.add_argument("--device", default="cpu", help="cpu; for a GPU use a profile")
    parser.add_argument("--use_cuda", action="store_true", help=argparse.SUPPRESS)
    for flag in _ABSENT:
        parser.add_argument(f"--{flag}", help=argparse.SUPPRESS)
    parser.set_defaults(run=tts)
