"""`voxturn keys …`: who may call the gateway."""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from voxturn.runtime.commands.options import filled, whole
from voxturn.runtime.errors import ExecutorUnavailable, UsageError
from voxturn.runtime.models.plugins import importable
from voxturn.runtime.models.store import Store

if TYPE_CHECKING:
    from voxturn.runtime.gateway.stored_keys import Key, StoredKeys
    from voxturn.runtime.gateway.transactions import Transactions

_NEEDED = ("starlette", "uvicorn", "websockets", "limits", "msgspec", "prometheus_client")
_POSTGRES = ("postgresql://", "postgres://")


def check_installed() -> None:
    """Raise `ExecutorUnavailable` where the gateway's packages are not here."""
    missing = [name for name in _NEEDED if not importable(name)]
    if missing:
        raise ExecutorUnavailable(f"the gateway needs {missing[0]}; pip install 'voxturn[gateway]'")


def add_database(parser: argparse.ArgumentParser) -> None:
    """Add `--database`."""
    parser.add_argument(
        "--database",
        type=filled("--database"),
        metavar="FILE|URL",
        help="where keys and conversations are kept: a file of SQLite, or postgresql://USER@HOST/NAME "
        "(default: gateway.sqlite in VOXTURN_HOME, or in voxturn in the user's data folder)",
    )


def opened(name: str | None) -> Transactions:
    """The database of that name or address, or the default one. Close it."""
    from voxturn.runtime.gateway.database import Database, default_path

    if name is None or not name.startswith(_POSTGRES):
        return Database(Path(name) if name else default_path())
    if not importable("psycopg"):
        raise ExecutorUnavailable(
            "PostgreSQL needs its package; pip install 'voxturn[gateway,postgres]'"
        )
    from voxturn.runtime.gateway.postgres import Postgres

    return Postgres(name)


def check_keys(host: str, everyone: bool, database: Transactions) -> None:
    """Raise `UsageError` where others than this machine's users could call without a key, unless
    `everyone` may."""
    from voxturn.runtime.gateway.stored_keys import all_keys

    if is_loopback(host) or everyone:
        return
    if not any(key.good(time.time()) for key in all_keys(database)):
        raise UsageError(
            f"--host {host}: others may reach it, and there is no key; make one with "
            "`voxturn keys create NAME`, or say --open"
        )


def stored_keys_of(host: str, everyone: bool, database: Transactions) -> StoredKeys:
    """The keys of a gateway that listens there, as `check_keys` lets it."""
    from voxturn.runtime.gateway.stored_keys import StoredKeys

    until_one_is_made = None if is_loopback(host) else False
    return StoredKeys(database, True if everyone else until_one_is_made)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def create(args: argparse.Namespace) -> int:
    """Make a key: its secret on standard output, and never again; the rest on standard error."""
    check_installed()
    from voxturn.runtime.gateway import stored_keys

    with opened(args.database) as database:
        key, secret = stored_keys.create(database, args.name, args.sessions, args.rate, args.days)
    print(f"{key.id}  {key.name}: keep what follows, it is not shown again", file=sys.stderr)
    print(secret)
    return 0


def list_keys(args: argparse.Namespace) -> int:
    """All keys that were ever made."""
    check_installed()
    from voxturn.runtime.gateway import stored_keys

    with opened(args.database) as database:
        keys = stored_keys.all_keys(database)
    if args.json:
        print(json.dumps([_entry(key) for key in keys], indent=1, ensure_ascii=False))
        return 0
    for key in keys:
        told = _entry(key)
        limits = f"sessions {key.sessions or '-'}, a minute {key.rate or '-'}"
        print(f"{key.id}  {told['created']}  {told['state']:8}  {limits}  {key.name}")
    return 0


def revoke(args: argparse.Namespace) -> int:
    """Take a key back; running gateways know within two seconds."""
    check_installed()
    from voxturn.runtime.gateway import stored_keys
    from voxturn.runtime.gateway.client_voices import forget_voices

    with opened(args.database) as database:
        fresh = stored_keys.revoke(database, args.id)
        forgotten = stored_keys.forget(database, args.id) if args.forget else 0
    print(f"{args.id}: {'revoked' if fresh else 'was revoked before'}")
    if args.forget:
        voices = forget_voices(Store().root, args.id)
        print(f"{forgotten} conversation(s) and {voices} voice(s) forgotten")
    return 0


def _entry(key: Key) -> dict[str, object]:
    state = "revoked" if key.revoked else "good" if key.good(time.time()) else "expired"
    return {
        "id": key.id,
        "name": key.name,
        "state": state,
        "created": _date(key.created),
        "expires": _date(key.expires),
        "revoked": _date(key.revoked),
        "sessions": key.sessions or None,
        "requests_per_minute": key.rate or None,
    }


def _date(at: float | None) -> str | None:
    return None if at is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `voxturn keys`."""
    group = commands.add_parser("keys", help="make, list and revoke the gateway's API keys")
    actions = group.add_subparsers(required=True, metavar="ACTION")
    make = actions.add_parser(
        "create",
        help="make a key; its secret is shown once",
        epilog="example:\n  voxturn keys create ana --sessions 2 --rate 120 --days 90",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    make.add_argument("name", type=filled("NAME"), metavar="NAME", help="whose it is")
    for option, most, text in (
        ("--sessions", 100_000, "conversations at once (default: as the profile says)"),
        ("--rate", 1_000_000_000, "requests a minute (default: as the profile says)"),
        ("--days", 36_500, "after how many it expires (default: never)"),
    ):
        parse = whole(option, 1, most)
        make.add_argument(option, type=parse, default=0, metavar="N", help=text)
    make.set_defaults(run=create)
    show = actions.add_parser("list", help="all keys, without their secrets")
    show.add_argument("--json", action="store_true")
    show.set_defaults(run=list_keys)
    take = actions.add_parser("revoke", help="take a key back")
    take.add_argument("id", metavar="ID", help="as `voxturn keys list` shows it")
    take.add_argument(
        "--forget", action="store_true", help="delete its conversations and voices as well"
    )
    take.set_defaults(run=revoke)
    for parser in (make, show, take):
        add_database(parser)
