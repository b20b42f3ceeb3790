"""What a single request may ask of a recogniser or a replier, and the families that heed it.

A family without these protocols hears and answers as its profile says: it is refused only what was
really asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from voxturn.runtime.errors import UsageError
from voxturn.runtime.families.base import Recogniser, Replier

_MOST_STOPS, _LONGEST_STOP = 16, 200


@dataclass(frozen=True)
class HearingOptions:
    """How speech is to be heard; empty: as the recogniser is set.

    `language` as in `Languages.of`: a tag, several as `ar,en`, or `auto`. `names` are made likelier,
    as is what goes on from `prompt`, a text that was said before: both are hints, which a family may
    make nothing of. `translate`: the words are to be English, whatever was spoken.
    """

    language: str = ""
    names: tuple[str, ...] = ()
    prompt: str = ""
    translate: bool = False

    def given(self) -> dict[str, Any]:
        """The options that are asked for."""
        return {name: value for name, value in vars(self).items() if value}


@runtime_checkable
class HearsOtherwise(Protocol):
    """A `Recogniser` that takes options for a single request."""

    def using(self, options: HearingOptions) -> Recogniser:
        """The same engines with other options.

        Raises `UnsupportedLanguage`, and `UsageError` for what its model cannot do.
        """
        ...


def hearing_as(recogniser: Recogniser, options: HearingOptions) -> Recogniser:
    """A recogniser with the options of a request.

    Raises as `HearsOtherwise.using`; `UsageError` where the family has no options.
    """
    if isinstance(recogniser, HearsOtherwise) and options.given():
        return recogniser.using(options)
    if options.translate:
        raise UsageError("translate: this speech model does not translate")
    if options.language:
        raise UsageError("language: this speech model's language is that of the profile")
    return recogniser


@dataclass(frozen=True)
class ReplyOptions:
    """How a dialogue is to be answered; None: as the replier is set.

    `max_tokens` is taken down to what the model has room for. `stops` end the answer, beside the
    model's own.
    """

    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    stops: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        """Raise `UsageError` for what no replier takes; what is sampled is checked where it is."""
        if self.max_tokens is not None and self.max_tokens < 1:
            raise UsageError(f"max_tokens {self.max_tokens}: must be 1 or more")
        stops = self.stops or ()
        if len(stops) > _MOST_STOPS or any(len(stop) > _LONGEST_STOP for stop in stops):
            raise UsageError(
                f"stops: may be {_MOST_STOPS}, of {_LONGEST_STOP} characters each at most"
            )

    def given(self) -> dict[str, Any]:
        """The options that are not None."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass
class ReplyReport:
    """What an answer cost and how it ended; filled while it is made.

    `full`: it was cut where it had `max_tokens`. The prompt's tokens are all of its positions, also
    those that an earlier dialogue had computed.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    full: bool = False


@runtime_checkable
class RepliesOtherwise(Protocol):
    """A `Replier` that takes options for a single request, and reports of it."""

    def using(self, options: ReplyOptions, report: ReplyReport) -> Replier:
        """The same engine with other options, for one answer. Raises `UsageError`."""
        ...


def takes_options(replier: Replier) -> bool:
    """Whether a replier takes options for a single request."""
    return isinstance(replier, RepliesOtherwise)


def replying_as(replier: Replier, options: ReplyOptions, report: ReplyReport) -> Replier:
    """A replier with the options of a request. Raises `UsageError` where the family has none of
    those that are asked for."""
    if isinstance(replier, RepliesOtherwise):
        return replier.using(options, report)
    if given := options.given():
        raise UsageError(f"{', '.join(given)}: this text model is set by its profile alone")
    return replier
