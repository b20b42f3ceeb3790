"""Commands that export a folder by its path to one of several targets: `voxturn export whisper`, `… qwen3`.

Imports nothing that the exporters need.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from voxturn.runtime.errors import UsageError

Write = Callable[[str, str, Path, Path, str, str], int]
"""`export.cli.write`."""


@dataclass(frozen=True)
class FolderCommand:
    """`name` of the command and the model, its `exporter`, and the precisions of each target, the default first."""

    name: str
    exporter: str
    about: str
    precisions: Mapping[str, Sequence[str]]

    def add(
        self, actions: argparse._SubParsersAction[argparse.ArgumentParser], write: Write
    ) -> None:
        """Add it to the actions of `voxturn export`."""
        parser = actions.add_parser(
            self.name,
            help=self.about,
            epilog=f"example:\n  voxturn export {self.name} --checkpoint DIR --to onnx --precision int8 -o ARTIFACT",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.add_argument(
            "--checkpoint", required=True, metavar="DIR", help="the folder with the model's files"
        )
        parser.add_argument(
            "--to",
            dest="engine",
            required=True,
            choices=list(self.precisions),
            help="what will run it",
        )
        offers = "; ".join(f"{target}: {', '.join(has)}" for target, has in self.precisions.items())
        parser.add_argument("--precision", default="", help=offers)
        parser.add_argument(
            "-o",
            "--output",
            required=True,
            metavar="ARTIFACT",
            help="a new folder, or an artifact to replace",
        )
        parser.set_defaults(run=lambda args: self._run(args, write))

    def _run(self, args: argparse.Namespace, write: Write) -> int:
        offered = self.precisions[args.engine]
        precision = args.precision or offered[0]
        if precision not in offered:
            raise UsageError(
                f"--to {args.engine} has no --precision {precision}; it has {', '.join(offered)}"
            )
        return write(
            self.name,
            self.exporter,
            Path(args.checkpoint),
            Path(args.output),
            precision,
            args.engine,
        )
