"""Every error that voxturn raises on purpose, and the exit code that the command line gives it.

    VoxturnError                     1   base class
    ├── UsageError                   2   a wrong option, value or combination
    ├── InputError                   3   what was handed in cannot be used
    │   ├── AudioError                   the audio
    │   │   ├── AudioNotFound            no such file
    │   │   ├── EmptyAudio               no bytes or no samples
    │   │   ├── UnreadableAudio          not audio, or an unknown or truncated container
    │   │   ├── InvalidSamples           NaN or infinite samples
    │   │   └── AudioTooLong             more than a profile or a server allows, or than its bytes can hold
    │   ├── TextError                    the text
    │   │   ├── EmptyText                nothing that can be spoken
    │   │   ├── PromptTooLong            more tokens than the model's context holds
    │   │   └── TextTooLong              more than a request to a server may have
    │   ├── UnsupportedLanguage          the model does not know the language
    │   ├── UnknownVoice                 there is no such voice
    │   └── UnknownStyle                 the voice has no such style
    ├── ConfigError                  4   profile or registry
    │   ├── UnknownProfile
    │   ├── InvalidProfile               unknown key, wrong type
    │   ├── UnknownModel                 not in the registry
    │   └── InvalidRegistry
    ├── ModelError                   5   model files
    │   ├── ModelNotInstalled            known, but not on this machine
    │   ├── CorruptModel                 a hash, size or format differs from what was recorded
    │   ├── DownloadFailed               network, source or hash
    │   └── ExportFailed                 a checkpoint could not be turned into an artifact
    ├── ResourceError                6   the machine
    │   ├── DiskFull
    │   ├── OutputNotWritable
    │   └── ExecutorUnavailable          a library or a device that the profile asks for is not here
    └── RunError                     7   during a run
        ├── InferenceFailed              an engine refused its input or died
        ├── StreamClosed                 a hand-off was used after its end
        ├── ForgottenWindow              a server does not keep an encoded window any more; it is encoded again
        ├── ForgottenSequence            a server has not all pieces of an utterance; it is sent again from its beginning
        ├── ForgottenSession             a server has not this session, or not all that was said in it; open another
        ├── TooManyStreams               more at once than a server gives one client, or than it has places for
        ├── DeadlineExceeded             a request took longer than its caller or the server allows
        ├── ServerUnavailable            no server answers, or it does not have the model
        └── ServerDied                   a server or one of its models stopped answering in the middle of a stream

Interrupted by the user (Ctrl-C): exit code 130; terminated (SIGTERM): 143.
This module imports nothing.
"""


class VoxturnError(Exception):
    """Base of all errors raised on purpose. `str(error)` is one line: what, where, what to do."""

    exit_code = 1


class UsageError(VoxturnError):
    """A wrong option, value or combination."""

    exit_code = 2


class InputError(VoxturnError):
    """What was handed in cannot be used."""

    exit_code = 3


class AudioError(InputError):
    """The audio cannot be used."""


class AudioNotFound(AudioError):
    """There is no such audio file."""


class EmptyAudio(AudioError):
    """The audio has no bytes or no samples."""


class UnreadableAudio(AudioError):
    """Not audio, or an unknown or truncated container."""


class InvalidSamples(AudioError):
    """The audio has NaN or infinite samples."""


class AudioTooLong(AudioError):
    """The audio is longer than a profile or a request to a server may have it, or than its bytes
    can hold."""


class TextError(InputError):
    """The text cannot be used."""


class EmptyText(TextError):
    """There is nothing in the text that can be spoken."""


class PromptTooLong(TextError):
    """The prompt has more tokens than the model's context holds."""


class TextTooLong(TextError):
    """The text is longer than a request to a server may have."""


class UnsupportedLanguage(InputError):
    """The model does not know the language."""


class UnknownVoice(InputError):
    """There is no voice of that name for the checkpoint."""


class UnknownStyle(InputError):
    """The voice has no style of that name."""


class ConfigError(VoxturnError):
    """Something is wrong with a profile or with the registry."""

    exit_code = 4


class UnknownProfile(ConfigError):
    """There is no profile of that name."""


class InvalidProfile(ConfigError):
    """A profile has an unknown key, a wrong type or a value out of range."""


class UnknownModel(ConfigError):
    """The registry has no model of that id."""


class InvalidRegistry(ConfigError):
    """The registry file breaks its own rules."""


class ModelError(VoxturnError):
    """Something is wrong with the files of a model."""

    exit_code = 5


class ModelNotInstalled(ModelError):
    """The registry knows the model, but it is not on this machine."""


class CorruptModel(ModelError):
    """A hash, a size or a format differs from what was recorded."""


class DownloadFailed(ModelError):
    """A source could not be reached, or what came is not what was promised."""


class ExportFailed(ModelError):
    """A checkpoint could not be turned into an artifact."""


class ResourceError(VoxturnError):
    """The machine lacks something."""

    exit_code = 6


class DiskFull(ResourceError):
    """Not enough free disk space."""


class OutputNotWritable(ResourceError):
    """The output cannot be written."""


class ExecutorUnavailable(ResourceError):
    """A library or a device that the profile asks for is not here."""


class RunError(VoxturnError):
    """Something went wrong during a run."""

    exit_code = 7


class InferenceFailed(RunError):
    """An engine refused its input or died."""


class StreamClosed(RunError):
    """A hand-off was used after its end."""


class ForgottenWindow(RunError):
    """A server does not keep an encoded window any more; it has to be encoded again."""


class ForgottenSequence(RunError):
    """A server has not all pieces of an utterance; it has to be sent again from its beginning."""


class ForgottenSession(RunError):
    """A server does not have this session (any more), or not all that was said in it."""


class TooManyStreams(RunError):
    """More at once than a server gives one client, or than it has places for."""


class DeadlineExceeded(RunError):
    """A request took longer than its caller or the server allows."""


class ServerUnavailable(RunError):
    """No server answers at the address, or it does not have the model."""


class ServerDied(RunError):
    """A server, or the process of one of its models, stopped answering in the middle of a stream."""
