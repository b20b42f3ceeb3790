"""`voxturn bench session`: dialogues in a simulated room, spoken into.

A question is asked, now and then with a pause inside; over the answer come a cough, a "yeah" or
nothing, then somebody interrupts it. The loudspeaker's sound comes back into the microphone, and
babble is behind everything. It is held by `commands.talk.Talk`, as `voxturn talk` holds it, at
the pace of real time: once with an echo canceller, once without.
"""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.bench.corpus import Speakers, Voice, babble, clips
from voxturn.bench.harness import Result, peak_rss_mb
from voxturn.bench.room import Acoustics, Room, SimulatedLoudspeaker, cough
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.audio.echo import EchoCanceller
from voxturn.runtime.commands.talk import Talk
from voxturn.runtime.families.decoder import as_decoder
from voxturn.runtime.flow.handoff import cancel_and_wait
from voxturn.runtime.frames import RATE, frames_from
from voxturn.runtime.messages import (
    Interrupted,
    Message,
    Paused,
    PcmChunk,
    Resumed,
    Samples,
    SessionError,
    SessionEvent,
    Transcript,
    TurnDone,
)
from voxturn.runtime.profile import Profile, load_profile
from voxturn.runtime.turn.session import SessionOptions
from voxturn.runtime.turn.trace import Trace

ASKERS = (Voice("en-us"), Voice("en-us+f3"), Voice("en-us", 0.9), Voice("en-us+f3", 0.9))
"""Voices that Whisper base hears in babble; of others of espeak-ng's it hears nothing."""

NOISES = ("cough", "backchannel", "cough", "backchannel", "none")
_LEVEL_DBFS = -24.0
"""Mean power of what is said into the microphone."""

_BEFORE_S = 1.5
"""How long somebody waits before he asks."""

_PATIENCE_S = 6.0
_JUDGED_S = 2.5
"""How long after a noise it is decided what it was."""

_SAME_S = 0.05
"""How far the place that the session names may be from where the loudspeaker was paused: it is told
ten times a second."""


@dataclass
class Dialogue:
    """What happened in one dialogue; times in milliseconds. What is None did not happen."""

    noise: str
    interruption: str
    pause_s: float
    answered: bool = False
    cut_off: bool = False
    false_cut: str = ""
    """What was cut although nobody interrupted: cough, backchannel or echo."""
    paused_by_noise: bool = False
    resumed_ms: float | None = None
    resumed_wrong: int = 0
    silent_before: bool = False
    """Whether the answer was paused already when the interruption began."""
    silent_ms: float | None = None
    decided_ms: float | None = None
    cut_ms: float | None = None
    phantoms: list[str] = field(default_factory=list)
    transcripts: list[str] = field(default_factory=list)
    errors: int = 0
    decisions: list[dict[str, Any]] = field(default_factory=list)


class Script:
    """What is said: `bench/session_script.toml` in voices, made once."""

    def __init__(self, said: dict[str, Any], speakers: Speakers) -> None:
        self._said = said
        self._speakers = speakers
        self.long: list[str] = said["long"]
        self.short: list[str] = said["short"]

    @classmethod
    def read(cls, speakers: Speakers) -> Script:
        """The committed script."""
        text = Path(__file__).with_name("session_script.toml").read_text(encoding="utf-8")
        return cls(tomllib.loads(text), speakers)

    async def question(self, number: int, pause_s: float) -> Samples:
        """The question of a dialogue; with a pause inside, where that is not 0."""
        if not pause_s:
            return await self._say(str(_of(self._said["questions"], number)), number)
        first, second = _of(self._said["paused"], number)
        silence = np.zeros(int(pause_s * RATE), np.float32)
        parts = [await self._say(each, number) for each in (first, second)]
        return np.concatenate([parts[0], silence, parts[1]])

    async def noise(self, kind: str, number: int) -> tuple[str, Samples]:
        """A cough, or a listener's word: what it is, and how it sounds."""
        if kind == "cough":
            return "", cough(np.random.default_rng([5, number])) * np.float32(_level())
        text = _of(self._said["backchannels"], number // 2)
        return text, await self._say(text, number)

    async def interruption(self, number: int) -> tuple[str, Samples]:
        """The words that interrupt, and how they sound."""
        text = _of(self._said["interruptions"], number)
        return text, await self._say(text, number)

    async def _say(self, text: str, number: int) -> Samples:
        speech = await self._speakers.say(text, ASKERS[number % len(ASKERS)])
        level = _level() / np.sqrt((speech**2).mean())
        return np.asarray(np.clip(speech * level, -1, 1), np.float32)


def _level() -> float:
    return float(10 ** (_LEVEL_DBFS / 20))


def _of(texts: Sequence[Any], number: int) -> Any:
    return texts[number % len(texts)]


def scripted(assistant: Assistant, answer: Callable[[Sequence[Message]], str]) -> None:
    """Let an assistant answer a dialogue by a script; everything is computed all the same."""
    replier = as_decoder(assistant.stages.replier)
    replier.script = lambda messages: [
        *replier.tokenizer.encode(answer(messages)),
        min(replier.chat.stop_ids),
    ]
    info = assistant.setup.info
    info["reply"] = replace(info["reply"], scripted=True)


class Watch:
    """What a session tells, with the clock's time."""

    def __init__(self, now: Callable[[], float], speaker: SimulatedLoudspeaker) -> None:
        self._now = now
        self._speaker = speaker
        self._changed = asyncio.Event()
        self._begin = 0
        self.told: list[tuple[float, SessionEvent]] = []
        self.resumed_wrong = 0
        self.rate = 0

    def __call__(self, event: SessionEvent) -> None:
        """An event, after it was played."""
        self.told.append((self._now(), event))
        if isinstance(event, PcmChunk):
            self.rate = event.rate
            if not event.start:
                self._begin = self._speaker.end - event.samples.size
        if isinstance(event, Resumed):
            place = self._speaker.played - self._begin
            self.resumed_wrong += abs(event.at - place) > _SAME_S * self.rate
        self._changed.set()

    def since(self, when_s: float, *kinds: type) -> list[tuple[float, Any]]:
        """Events of these kinds from a time on."""
        return [(at, each) for at, each in self.told if at >= when_s and isinstance(each, kinds)]

    async def first(self, when_s: float, until_s: float, *kinds: type) -> tuple[float, Any] | None:
        """The first event of these kinds after a time, waiting for it until another."""
        while not (found := self.since(when_s, *kinds)):
            self._changed.clear()
            left_s = until_s - self._now()
            if left_s <= 0:
                return None
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left_s)
        return found[0]


class Holder:
    """Holds dialogues in a room with an assistant, one after the other."""

    def __init__(
        self,
        assistant: Assistant,
        script: Script,
        noise: Samples,
        acoustics: Acoustics,
        cancel: bool,
    ) -> None:
        self._assistant = assistant
        self._script = script
        self._babble = noise
        self._acoustics = acoustics
        self._cancel = cancel
        self._clock = assistant.setup.clock
        self._number = 0

        def answer(messages: Sequence[Message]) -> str:
            first = not any(message.role == "assistant" for message in messages)
            return str(_of(script.long if first else script.short, self._number))

        scripted(assistant, answer)

    async def hold(self, number: int) -> Dialogue:
        """One dialogue of the script."""
        self._number = number
        noise = NOISES[number % len(NOISES)]
        random = np.random.default_rng([11, number])
        pause_s = float(random.uniform(0.5, 0.8)) if number % 3 == 2 else 0.0
        interruption = (await self._script.interruption(number))[0] if number % 4 != 3 else ""
        dialogue = Dialogue(noise, interruption, pause_s)
        traces: list[Trace] = []
        speaker = SimulatedLoudspeaker(self._assistant.rate)
        watch = Watch(self._clock.now, speaker)
        cancel = EchoCanceller(RATE) if self._cancel else None
        room = Room(self._acoustics, self._clock, speaker, self._babble, cancel)
        async with self._assistant.session(SessionOptions(on_trace=traces.append)) as session:
            talk = Talk(session, speaker, self._assistant.rate, self._clock, watch)
            held = asyncio.create_task(talk.hold(room.run(session.push)))
            try:
                await self._speak(number, dialogue, room, watch, random)
            finally:
                await cancel_and_wait(held)
        self._note(dialogue, watch, traces)
        return dialogue

    async def _speak(
        self,
        number: int,
        dialogue: Dialogue,
        room: Room,
        watch: Watch,
        random: np.random.Generator,
    ) -> None:
        question = await self._script.question(number, dialogue.pause_s)
        room.level(question)
        await self._wait(_BEFORE_S)
        begin_s = await room.say(question)
        ended_s = begin_s + question.size / RATE
        dialogue.cut_off = any(event.text for _, event in watch.since(begin_s, Transcript))
        first = await watch.first(ended_s, ended_s + _PATIENCE_S, PcmChunk)
        dialogue.answered = first is not None
        if first is None:
            return
        answered_s = first[0]
        await self._wait(float(random.uniform(1.0, 2.0)))
        if self._cut_by(dialogue, "echo", watch, answered_s):
            return
        if dialogue.noise != "none" and not await self._noise(number, dialogue, room, watch):
            return
        await self._wait(float(random.uniform(0.6, 1.6)))
        if self._cut_by(dialogue, "echo", watch, answered_s):
            return
        if dialogue.interruption:
            await self._interrupt(number, dialogue, room, watch)
        await self._ended(watch)
        if not dialogue.interruption:
            self._cut_by(dialogue, "echo", watch, answered_s)

    async def _noise(self, number: int, dialogue: Dialogue, room: Room, watch: Watch) -> bool:
        """Make the noise; False where it cut the answer."""
        _, sound = await self._script.noise(dialogue.noise, number)
        at_s = await room.say(sound)
        await self._wait(_JUDGED_S)
        paused = watch.since(at_s, Paused)
        dialogue.paused_by_noise = bool(paused)
        if paused and (resumed := watch.since(paused[0][0], Resumed)):
            dialogue.resumed_ms = 1000 * (resumed[0][0] - at_s)
        return not self._cut_by(dialogue, dialogue.noise, watch, at_s)

    async def _interrupt(self, number: int, dialogue: Dialogue, room: Room, watch: Watch) -> None:
        _, speech = await self._script.interruption(number)
        saying = asyncio.create_task(room.say(speech))
        began_s = self._clock.now()
        cut = await watch.first(began_s, began_s + speech.size / RATE + _PATIENCE_S, Interrupted)
        at_s = await saying
        if cut is None:
            return
        dialogue.cut_ms = 1000 * (cut[0] - at_s)
        before = [each for at, each in watch.since(0.0, Paused, Resumed) if at < at_s]
        dialogue.silent_before = bool(before) and isinstance(before[-1], Paused)
        silences = [at for at, _ in watch.since(at_s, Paused, Interrupted) if at <= cut[0]]
        resumed = [at for at, _ in watch.since(at_s, Resumed) if at <= cut[0]]
        silent = [at for at in silences if not any(again > at for again in resumed)]
        dialogue.silent_ms = 1000 * (silent[0] - at_s)
        await watch.first(cut[0], cut[0] + _PATIENCE_S, PcmChunk)

    async def _ended(self, watch: Watch) -> None:
        """Wait until the last answer was given and played."""
        last = max((at for at, _ in watch.since(0.0, PcmChunk)), default=0.0)
        await watch.first(last, self._clock.now() + _PATIENCE_S, TurnDone)
        await self._wait(1.0)

    def _cut_by(self, dialogue: Dialogue, what: str, watch: Watch, since_s: float) -> bool:
        if watch.since(since_s, Interrupted):
            dialogue.false_cut = dialogue.false_cut or what
        return bool(dialogue.false_cut)

    def _note(self, dialogue: Dialogue, watch: Watch, traces: Sequence[Trace]) -> None:
        texts = [event.text for _, event in watch.since(0.0, Transcript) if event.text]
        spoken = 1 + dialogue.cut_off + (dialogue.cut_ms is not None)
        dialogue.transcripts = texts
        dialogue.phantoms = texts[spoken:]
        dialogue.resumed_wrong = watch.resumed_wrong
        dialogue.errors = len(watch.since(0.0, SessionError))
        for trace in traces:
            dialogue.decisions += [
                {"what": each.what, "reason": each.reason, "heard": each.heard}
                for each in trace.interruptions
            ]
        silences = watch.since(0.0, Paused, Interrupted)
        decided = [each.at_s for t in traces for each in t.interruptions if each.what in _SILENCING]
        gaps = [
            1000 * (at - max((d for d in decided if d <= at), default=at)) for at, _ in silences
        ]
        dialogue.decided_ms = max(gaps, default=None)

    async def _wait(self, seconds: float) -> None:
        await self._clock.sleep_until(self._clock.now() + seconds)


_SILENCING = ("paused", "cut")


async def run(profile: Profile, dialogues: int, bare: int, pairs: int, path: Path | None) -> Result:
    """`dialogues` with an echo canceller, `bare` ones without, `pairs` of a turn and a session."""
    result = Result("session")
    speakers = Speakers(profile)
    try:
        script = Script.read(speakers)
        made = await clips(speakers, 6)
        random = np.random.default_rng(2)
        noise = babble(30 * RATE, random, made)
        background = (noise / np.sqrt((noise**2).mean())).astype(np.float32)
        async with Assistant.load(profile) as assistant:
            await assistant.warm()
            holder = Holder(assistant, script, background, Acoustics(), cancel=True)
            for stage, info in assistant.setup.info.items():
                result.artifact(stage, info)
            await holder.hold(dialogues)  # a warm-up
            report(result, "session", [await holder.hold(n) for n in range(dialogues)])
            holder = Holder(assistant, script, background, Acoustics(), cancel=False)
            report(result, "session.no_canceller", [await holder.hold(n) for n in range(bare)])
            await _pairs(result, assistant, script, pairs)
    finally:
        speakers.close()
    result.value("session.peak_rss_mb", "MB", peak_rss_mb())
    if path:
        result.write(path)
    return result


def report(result: Result, name: str, held: Sequence[Dialogue]) -> None:
    """The figures of dialogues; each of them as a row of the notes."""
    interrupted = [
        each for each in held if each.interruption and not each.false_cut and each.answered
    ]
    cut = [each for each in interrupted if each.silent_ms is not None]
    result.value(f"{name}.interruption.silent_before", "count", sum(e.silent_before for e in cut))
    silent = [each.silent_ms for each in cut if each.silent_ms and not each.silent_before]
    if silent:
        result.samples(f"{name}.interruption.silent_ms", "ms", silent)
        cuts = [each.cut_ms for each in interrupted if each.cut_ms is not None]
        result.samples(f"{name}.interruption.cut_ms", "ms", cuts)
    decided = [each.decided_ms for each in held if each.decided_ms is not None]
    if decided:
        result.samples(f"{name}.decision_to_silence_ms", "ms", decided)
    result.value(f"{name}.interruption.count", "count", len(interrupted))
    result.value(f"{name}.interruption.missed", "count", len(interrupted) - len(cut))
    answered = [each for each in held if each.answered]
    noises = [each for each in answered if each.noise != "none" and each.false_cut != "echo"]
    false = {
        kind: sum(each.false_cut == kind for each in held)
        for kind in ("cough", "backchannel", "echo")
    }
    for kind, count in false.items():
        result.value(f"{name}.false.{kind}", "count", count)
    chances = len(noises) + len(answered)  # a noise over an answer, and the echo of each answer
    result.value(f"{name}.false.chances", "count", chances)
    result.value(f"{name}.false.share", "ratio", sum(false.values()) / max(1, chances))
    result.value(f"{name}.resumed_wrong", "count", sum(each.resumed_wrong for each in held))
    result.value(f"{name}.paused_by_noise", "count", sum(each.paused_by_noise for each in held))
    result.value(f"{name}.nobody_spoke", "count", sum(len(each.phantoms) for each in held))
    result.value(f"{name}.unanswered", "count", sum(not each.answered for each in held))
    result.value(f"{name}.pauses", "count", sum(each.pause_s > 0 for each in held))
    result.value(f"{name}.cut_off", "count", sum(each.cut_off for each in held))
    result.value(f"{name}.errors", "count", sum(each.errors for each in held))
    result.notes[name] = [_row(each) for each in held]


def _row(dialogue: Dialogue) -> dict[str, Any]:
    return {
        key: round(value, 1) if isinstance(value, float) else value
        for key, value in vars(dialogue).items()
        if value not in (None, "", [], 0, False)
    }


async def _pairs(result: Result, assistant: Assistant, script: Script, count: int) -> None:
    """The same question to a turn and to a session, by turns: from when its end is certain to the
    audible answer."""
    times: dict[str, list[float]] = {"turn": [], "session": []}
    silence = np.zeros(int(0.3 * RATE), np.float32)
    for number in range(count):
        asked = np.concatenate([silence, await script.question(number, 0.0)])
        async with assistant.conversation().turn(frames_from(asked, live=True)) as turn:
            async for _ in turn:
                pass
        traces = [turn.trace, await _in_session(assistant, asked)]
        for kind, trace in zip(times, traces, strict=True):
            response = trace.to_dict()["response_ms"]
            if response is not None:
                times[kind].append(response)
    for kind, values in times.items():
        if values:
            result.samples(f"session.pairs.{kind}.response_ms", "ms", values)
    if all(times.values()):
        ratio = float(np.median(times["turn"]) / np.median(times["session"]))
        result.value("session.pairs.response_ratio", "ratio", ratio)


async def _in_session(assistant: Assistant, asked: Samples) -> Trace:
    traces: list[Trace] = []
    async with assistant.session(SessionOptions(on_trace=traces.append)) as session:
        feeding = asyncio.create_task(session.feed(frames_from(asked, live=True)))
        async for event in session:
            if isinstance(event, TurnDone):
                break
        await cancel_and_wait(feeding)
    return traces[0]


def main(profile: str, dialogues: int, bare: int, pairs: int, path: Path | None) -> Result:
    """Run the benchmark."""
    return asyncio.run(run(load_profile(profile), dialogues, bare, pairs, path))
