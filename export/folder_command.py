"""Commands that export a folder by its path: `voxturn export whisper`, `… qwen3`, `… coqui`.

Imports nothing that the exporters need.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from voxturn.export.options import add_options
from voxturn.runtime.errors import UsageError

Write = Callable[[str, str, Path, Path, str, str, Mapping[str, Path]], int]
"""`export.cli.write`."""


@dataclass(frozen=True)
class FolderCommand:
    """`name` of the command and the model, its `exporter`, and the precisions for each engine, the
    default first. Where there is one engine alone, it need not be named. `folders`: further options
    that name a folder for the exporter, and what each is."""

    name: str
    exporter: str
    about: str
    precisions: Mapping[str, Sequence[str]]
    folders: Mapping[str, str] = field(default_factory=dict)

    def add(
        self, actions: argparse._SubParsersAction[argparse.ArgumentParser], write: Write
    ) -> None:
        """Add it to the actions of `voxturn export`."""
        engine, offered = next(iter(self.precisions.items()))
        example = f"--checkpoint DIR --for {engine} --precision {offered[0]} -o ARTIFACT"
        parser = actions.add_parser(
            self.name,
            help=self.about,
            epilog=f"example:\n  voxturn export {self.name} {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        offers = "; ".join(f"{engine}: {', '.join(has)}" for engine, has in self.precisions.items())
        needed = len(self.precisions) > 1
        add_options(parser, list(self.precisions), "what will run it", offers, needed)
        for name, about in self.folders.items():
            parser.add_argument(f"--{name}", type=Path, metavar="DIR", help=about)
        parser.set_defaults(run=lambda args: self._run(args, write))

    def _run(self, args: argparse.Namespace, write: Write) -> int:
        engine = args.engine or next(iter(self.precisions))
        offered = self.precisions[engine]
        precision = args.precision or offered[0]
        if precision not in offered:
            raise UsageError(
                f"--for {engine} has no --precision {precision}; it has {', '.join(offered)}"
            )
        return write(
            self.name,
            self.exporter,
            Path(args.checkpoint),
            Path(args.output),
            precision,
            engine,
            {name: folder for name in self.folders if (folder := getattr(args, name))},
        )
