"""`voxturn serve triton`: the models of a profile behind Triton Inference Server. The gateway is in `serve_gateway.py`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys

from voxturn.runtime.commands import serve_gateway, serve_wyoming
from voxturn.runtime.errors import ExecutorUnavailable, ServerDied, UsageError
from voxturn.runtime.flow.handoff import cancel_and_wait
from voxturn.runtime.flow.scheduling import Cores
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import Store
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.prepare import problems
from voxturn.runtime.profile import Profile, load_profile
from voxturn.runtime.remote.contract import MODELS
from voxturn.runtime.serving.backend import PROFILE
from voxturn.runtime.serving.container import ContainerTriton
from voxturn.runtime.serving.launcher import EmbeddedTriton, repository
from voxturn.runtime.serving.supervisor import Supervisor, control

_LOOK_S = 0.5


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `serve` to the command line."""
    serve = commands.add_parser("serve", help="serve a profile's models")
    kinds = serve.add_subparsers(required=True, metavar="SERVER")
    parser = kinds.add_parser(
        "triton",
        help="behind Triton Inference Server, in a child process",
        epilog="example:\n  voxturn serve triton --profile demo --models whisper,qwen3,vits",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    place = parser.add_mutually_exclusive_group()
    place.add_argument(
        "--embedded",
        action="store_true",
        help="the server of the nvidia-pytriton wheel (the default)",
    )
    place.add_argument(
        "--docker", action="store_true", help="NVIDIA's container, by deploy/docker-compose.yml"
    )
    parser.add_argument(
        "--http",
        action="store_true",
        help="inference by Triton's HTTP protocol as well as by gRPC; any page in a browser of this machine can ask it",
    )
    parser.add_argument("--profile", default="demo", metavar="P")
    parser.add_argument(
        "--models",
        default="whisper,qwen3,vits",
        metavar="A,B",
        help=f"of {', '.join(MODELS)} (default: whisper,qwen3,vits); voice_turn has all of a turn in one process",
    )
    parser.set_defaults(run=_triton)
    serve_gateway.add_parser(kinds)
    serve_wyoming.add_parser(kinds)


def _triton(args: argparse.Namespace) -> int:
    models = [name.strip() for name in args.models.split(",") if name.strip()]
    unknown = [name for name in models if name not in MODELS]
    if unknown or not models:
        raise UsageError(f"--models {args.models}: must be some of {', '.join(MODELS)}")
    profile = load_profile(args.profile)  # a wrong one is known here, not in a model's log
    if args.docker and args.profile != profile.name:
        raise UsageError(
            f"--docker --profile {args.profile}: a file is not in the container; name a shipped profile"
        )
    if not args.docker:  # a container has models of its own
        _check(profile, args.profile, models)
    return asyncio.run(_serve(args, models))


_STAGES: dict[str, tuple[str, ...]] = {
    "whisper": ("transcribe",),
    "qwen3": ("reply",),
    "xtts": ("speak", "vocode"),
    "xtts_vocoder": ("vocode",),
    "xtts_hifigan": ("vocode",),
    "vits": ("speak", "vocode"),
    "voice_turn": ("listen", "end_of_turn", "transcribe", "reply", "speak", "vocode"),
}
"""By a served model: the profile's stages that it runs."""


def _check(profile: Profile, name: str, models: list[str]) -> None:
    """Raise for what the models' stages lack on this machine, before a server is started.

    `name`: what the user calls it.
    """
    stages = dict.fromkeys(stage for model in models for stage in _STAGES[model])
    store, registry, cores = Store(), Registry.read(), Cores()
    parts = LoadedParts(profile, store, registry)
    try:
        for stage in stages:
            cores.budget(stage, profile.engine(stage).threads)
            parts.check(stage)
        parts.content_filter()
    finally:
        parts.close()
    for problem in problems(profile, store, registry, cores, name):  # what a GPU lacks
        if problem.stage in stages:
            raise ExecutorUnavailable(
                f"profile {profile.name}.{problem.stage}: {problem.what}; {problem.fix}"
            )


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


async def _serve(args: argparse.Namespace, models: list[str]) -> int:
    """Serve until a signal comes, or the server ends by itself."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    if args.docker:
        with ContainerTriton(args.profile, models, http=args.http) as container:
            if not await asyncio.to_thread(container.wait_until_live, stop.is_set):
                return 0
            return await _supervise(container, models, stop)
    with EmbeddedTriton(repository(), {PROFILE: args.profile}, http=args.http) as embedded:
        return await _supervise(embedded, models, stop)


async def _supervise(
    triton: EmbeddedTriton | ContainerTriton, models: list[str], stop: asyncio.Event
) -> int:
    server = control(triton)
    supervisor = Supervisor(
        server, models, _report, triton if isinstance(triton, EmbeddedTriton) else None
    )
    try:
        loading, stopping = (
            asyncio.ensure_future(supervisor.load()),
            asyncio.ensure_future(stop.wait()),
        )
        await asyncio.wait([loading, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not loading.done():
            await cancel_and_wait(loading)
            return 0
        loading.result()
        print(f"grpc 127.0.0.1:{triton.grpc}", flush=True)
        print(f"metrics 127.0.0.1:{triton.metrics}", flush=True)
        if triton.http is not None:
            print(f"http 127.0.0.1:{triton.http}", flush=True)
        watching = asyncio.create_task(supervisor.watch())
        try:
            while not stop.is_set():
                if watching.done():
                    watching.result()
                if isinstance(triton, ContainerTriton) and not triton.alive:
                    raise ServerDied("the container ended")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _LOOK_S)
        finally:
            await cancel_and_wait(watching)
    finally:
        await server.aclose()
    return 0
