"""What a Triton server and its client library say of a failure, as voxturn's own errors."""

from __future__ import annotations

import re

from voxturn.runtime import errors
from voxturn.runtime.errors import ServerDied, ServerUnavailable, UsageError, VoxturnError

_PLAIN = "unexpected inference input", "inputs but got"
"""What a server says to a canary for a graph without that input; the latter where the number of
inputs is wrong, too."""
_REFUSED, _HEADING = (*_PLAIN, "for input '", "inference input '"), re.compile(r"(?:\[[^\]]*\] ?)*")
"""What a server says to inputs that the model does not have, or not so; what it puts before that."""
_NEVER_REACHED = (
    "failed to connect",
    "Connection refused",
    "DNS resolution",
    "no address",
    "errors resolving",
    "Domain name not found",
)
_STACK, _INTERNAL, _NAME = "\n\nAt:\n", "state: Internal: ", re.compile(r"\b([A-Z]\w+): ")
"""In what a server says of a model that does not load: what follows the model's exception, what
goes before it, and its name."""
_LOAD_FAILURES = (
    (
        ("not healthy",),
        "its process ended while it loaded",
        "free memory on the server's machine, or name a smaller model in the profile",
    ),
    (
        ("waiting for the stub process",),
        "its process did not start in time",
        "serve again when the machine is less busy",
    ),
    (
        ("failed to poll from model repository",),
        "the server's model repository does not have it",
        "install the same voxturn on both sides",
    ),
    (
        ("Stream removed", "Socket closed"),
        "the server ended while it loaded",
        "serve fewer models if the machine's memory is short, or serve again",
    ),
    (
        ("is restricted",),
        "only who started the server may load models",
        "name the model in `voxturn serve triton --models`",
    ),
)
"""What a server's message has, the reason that it stands for, and what to do."""
_DOCTOR = "`voxturn doctor` in the server's environment says what it lacks"


def is_plain(error: Exception) -> bool:
    """Whether a canary's error is a plain graph's, which has no canary, and lives."""
    return any(sign in str(error) for sign in _PLAIN)


def lost(error: Exception, model: str, address: str, begun: bool) -> VoxturnError:
    """The error behind a request that failed; `begun`: after its first answer."""
    message = _message(error)
    if (known := raised(message, model)) is not None:
        return known
    if not begun and (unreachable := _unreachable(message, address)) is not None:
        return unreachable
    return ServerDied(f"{address}: model {model!r}: {_one_line(message)[:200]}")


def raised(message: str, model: str) -> VoxturnError | None:
    """The error that a model raised, by the name that its message begins with."""
    text = message.removeprefix("[StatusCode.INTERNAL] ")
    name, _, rest = text.partition(": ")
    if (kind := error_class(name)) is not None:
        return kind(rest)
    if "tub process" in text:
        return ServerDied(f"model {model!r} died; the request may be made again")
    if "no available versions" in text:
        return ServerUnavailable(
            f"model {model!r} is not loaded now; while it is started again, make the request again"
        )
    if "unknown model" in text:
        return ServerUnavailable(
            f"the server has no model {model!r}; serve it with --models …,{model}"
        )
    if any(sign in text for sign in _REFUSED):
        return UsageError(f"{model}: {_one_line(_HEADING.sub('', text, 1))}")
    return None


def load_failed(error: Exception, model: str, address: str) -> VoxturnError:
    """The error behind a model that does not load: the model, the reason and the remedy.

    Triton puts its own words before the model's exception and a stack of Python after it:
    "… is at UNAVAILABLE state: Internal: ModelNotInstalled: …\\n\\nAt:\\n  store.py(120): artifact\\n …".
    """
    message = _message(error)
    if (unreachable := _unreachable(message, address)) is not None:
        return unreachable
    reason = message.partition(_STACK)[0].strip().removesuffix(";")
    what = f"model {model!r} does not load"
    for match in _NAME.finditer(reason):
        if (kind := error_class(match[1])) is not None:
            return kind(f"{what}: {_one_line(reason[match.end() :])}")
    for signs, why, remedy in _LOAD_FAILURES:
        if any(sign in reason for sign in signs):
            return ServerUnavailable(f"{address}: {what}: {why}; {remedy}")
    return ServerUnavailable(
        f"{address}: {what}: {_one_line(reason.rpartition(_INTERNAL)[2])[:200]}; {_DOCTOR}"
    )


def unload_failed(error: Exception, model: str, address: str) -> VoxturnError:
    """The error behind a model that does not unload."""
    message = _message(error)
    return _unreachable(message, address) or ServerUnavailable(
        f"{address}: model {model!r} does not unload: {_one_line(message)[:200]}"
    )


def _unreachable(message: str, address: str) -> ServerUnavailable | None:
    if not any(sign in message for sign in _NEVER_REACHED):
        return None
    return ServerUnavailable(
        f"{address}: no server answers there; "
        "start one with `voxturn serve triton`, or name another address"
    )


def error_class(name: str) -> type[VoxturnError] | None:
    """The class of voxturn's errors that has this name."""
    kind = getattr(errors, name, None)
    return kind if isinstance(kind, type) and issubclass(kind, VoxturnError) else None


def _message(error: Exception) -> str:
    """What an error of gRPC's or of the client library's says, without its representation."""
    text = getattr(error, "details", None) or getattr(error, "message", None)
    return str(text() if callable(text) else error)


def _one_line(text: str) -> str:
    return " ".join(text.split())
