"""Which voice of a profile speaks which of its languages: `voice_of` of the stage speak."""

from __future__ import annotations

from dataclasses import dataclass, replace

from voxturn.runtime.errors import InvalidProfile, UnknownModel
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import is_artifact
from voxturn.runtime.profile import Profile
from voxturn.runtime.text.language import Languages

SPEAKING = ("speak", "vocode")
"""The stages of a voice."""


@dataclass(frozen=True)
class OwnVoice:
    """The voice that a language has for itself.

    `profile` is in that language alone, and its stage speak is this voice. `speaker`: a name of the
    usual voice's speakers; empty where it is another model.
    """

    tag: str
    profile: Profile
    speaker: str = ""

    @property
    def where(self) -> str:
        """Its key of the profile."""
        return f"speak.voice_of.{self.tag}"

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that it has for itself."""
        return ("speak",) if self.speaker else SPEAKING


def own_voices(profile: Profile, registry: Registry) -> list[OwnVoice]:
    """The voices that `voice_of` names; a language that has the usual one is left out."""
    return [
        _own(profile, tag, value, registry)
        for tag, value in (profile.speak.voice_of or {}).items()
        if value != profile.speak.model
    ]


def _own(profile: Profile, tag: str, value: str, registry: Registry) -> OwnVoice:
    speak = replace(profile.speak, voice_of=None, style=None)
    if not _is_model(value, registry):
        alone = replace(profile, language=tag, speak=replace(speak, voice=value))
        return OwnVoice(tag, alone, value)
    other = replace(speak, model=value, precision="", voice=None)
    return OwnVoice(tag, replace(profile, language=tag, speak=other, vocode=None))


def _is_model(value: str, registry: Registry) -> bool:
    if is_artifact(value):
        return True
    try:
        registry.resolve(value)
    except UnknownModel:
        return False
    return True


def languages_of(profile: Profile, stage: str, registry: Registry) -> Languages:
    """The languages that a stage's own model must know: all of the profile's, but those that
    another voice speaks.

    Raises `InvalidProfile` where none is left for a voice.
    """
    languages = profile.languages
    if stage not in SPEAKING:
        return languages
    others = Languages(tuple(own.tag for own in own_voices(profile, registry) if not own.speaker))
    left = tuple(tag for tag in languages.tags if not others.tag_of(tag))
    if languages.tags and not left:
        raise InvalidProfile(
            f"profile {profile.name}.speak.voice_of: no language is left for {profile.speak.model}; "
            "name one of these voices as `model`"
        )
    return Languages(left)
