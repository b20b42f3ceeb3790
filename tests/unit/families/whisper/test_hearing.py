"""Whisper's short window and its guard: what is believed, what is tried again, what is silence;
partial transcripts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import pytest
from voxturn.runtime.errors import CorruptModel, InferenceFailed, UnsupportedLanguage, UsageError
from voxturn.runtime.executors.fake import FakeWhisper, evenly
from voxturn.runtime.families.base import Hearing
from voxturn.runtime.families.options import HearingOptions
from voxturn.runtime.families.whisper.hearing import WhisperRecogniser
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.messages import Partial, Samples, Speaking, Transcript, Word
from voxturn.runtime.protocols import Generated
from voxturn.runtime.text.filter import Filtered, PassAll
from voxturn.runtime.turn.recognise import FilteredRecogniser, Partials

from tests.conftest import CharTokenizer, mel


class Biased(CharTokenizer):
    """With the mark that Whisper puts before what was said earlier."""

    marks = (*CharTokenizer.marks, "<|startofprev|>", "<|hi|>")


TOKENS = CharTokenizer()
EN_AND_AR = {"en": 0.3, "ar": 0.7}


def result(text: str, score: float = -0.2, no_speech: float = 0.0) -> Generated:
    return Generated(tuple(TOKENS.encode(text)), score, no_speech)


def squeezed(said: int, share: float = 0.95) -> Callable[[Sequence[int], int], list[int]]:
    """An alignment in which the first `said` tokens have that share of the audio, and the others
    the rest."""

    def aligned(ids: Sequence[int], positions: int) -> list[int]:
        if len(ids) <= said:
            return evenly(ids, positions)
        end = int(share * positions)
        rest = evenly(ids[said:], positions - end)
        return [*evenly(ids[:said], end)[:-1], *(end + position for position in rest)]

    return aligned


class Heard:
    """A stage on a fake executor, and what it asked of it."""

    def __init__(
        self,
        *results: Generated,
        language: str = "en",
        chances: Mapping[str, float] | None = None,
        names: Sequence[str] = (),
        aligned: Callable[[Sequence[int], int], list[int]] = evenly,
    ) -> None:
        self.whisper = FakeWhisper(results, chances, aligned=aligned)
        self.lane = Lane("transcribe")
        recogniser = WhisperRecogniser(self.whisper, Biased(), mel, self.lane, language, names)
        self.stage = FilteredRecogniser(recogniser, PassAll())

    async def transcript(
        self, seconds: float, prior: str = "", words: bool = False, level: float = 0.0
    ) -> Transcript:
        try:
            return await self.stage.transcribe(audio(seconds, level), prior, words)
        finally:
            self.lane.close()


def audio(seconds: float, level: float = 0.0) -> Samples:
    return np.full(int(16000 * seconds), level, np.float32)


def speaking(seconds: float) -> Speaking:
    return Speaking((audio(seconds),), 16000, 512)


async def test_a_good_result_takes_one_short_window_continued_with_silence() -> None:
    heard = Heard(result("Good morning."))
    assert await heard.transcript(3.0) == Transcript("Good morning.", "en", -0.2, 0)
    assert heard.whisper.encoded_frames == [
        3000,
        330,
    ]  # the silence, once; then 3 s and their padding
    assert heard.whisper.positions == [215]  # the decoder sees another second of silence
    heard = Heard(result("Good morning."))
    await heard.transcript(7.0)
    assert (heard.whisper.encoded_frames[1:], heard.whisper.positions) == ([730], [415])


async def test_the_silence_is_encoded_once() -> None:
    heard = Heard(result("Good morning."))
    await heard.stage.transcribe(audio(1.0))
    await heard.transcript(1.0)
    assert heard.whisper.encoded_frames == [3000, 130, 130]


async def test_what_is_said_again_is_heard_again() -> None:
    for text in (
        "turn on the light turn on the light",
        "We spent the whole summer by the sea. We spent the whole summer",
        "no no no",
    ):
        heard = Heard(result(text))
        transcript = await heard.transcript(len(text) / 6, level=0.1)
        assert (transcript.text, transcript.fallbacks) == (text, 0)
        assert heard.whisper.alignments == 1


def ended(at: float) -> Callable[[Sequence[int], int], list[int]]:
    """An alignment whose last token ends at that share of the audio."""
    return lambda ids, positions: evenly(ids, int(at * positions))


async def test_sound_after_the_last_word_is_heard_by_itself() -> None:
    for text in (
        "Go on. Go on.",
        "Go home",
    ):  # it repeats something; it is little for so much sound
        heard = Heard(result(text, -0.3), result("And rest.", -0.4), aligned=ended(0.5))
        transcript = await heard.transcript(4.0, level=0.1, words=True)
        assert transcript.text == f"{text} And rest."
        assert heard.whisper.encoded_frames == [3000, 430, 230]
        assert (transcript.fallbacks, transcript.confidence) == (0, -0.4)
        assert [word.begin_s for word in transcript.words if word.text == "And"] == [2.0]


async def test_what_is_no_speech_after_the_last_word_changes_nothing() -> None:
    heard = Heard(result("Go on. Go on.", -0.3), result("Thanks.", -1.6), aligned=ended(0.5))
    transcript = await heard.transcript(4.0, level=0.1)
    assert (transcript.text, transcript.confidence) == ("Go on. Go on.", -0.3)


async def test_words_after_the_last_one_that_the_model_is_not_sure_of_are_left_out() -> None:
    """They were kept with a score between −1 and −1.5: a last word twice, or one that nobody said."""
    doubted = [result("Thank you.", -1.3)] * 3  # on every window
    heard = Heard(result("Go on. Go on.", -0.3), *doubted, aligned=ended(0.5))
    transcript = await heard.transcript(4.0, level=0.1)
    assert (transcript.text, transcript.confidence) == ("Go on. Go on.", -0.3)


@pytest.mark.parametrize(("end", "level"), [(0.95, 0.1), (0.5, 0.0)])
async def test_nothing_is_heard_again_where_nothing_sounds(end: float, level: float) -> None:
    heard = Heard(result("Go home tonight"), result("And rest."), aligned=ended(end))
    assert (await heard.transcript(4.0, level=level)).text == "Go home tonight"


async def test_what_repeats_nothing_is_not_aligned() -> None:
    heard = Heard(result("turn on the light in the hall"))
    await heard.transcript(5.0)
    assert heard.whisper.alignments == 0


LOOP = "turn on the light turn on the light"


async def test_a_loop_is_tried_again_on_a_longer_window() -> None:
    heard = Heard(result(LOOP), result("Turn on the light."), aligned=squeezed(18))
    transcript = await heard.transcript(4.0, level=0.1)
    assert (transcript.text, transcript.fallbacks) == ("Turn on the light.", 1)
    assert heard.whisper.encoded_frames == [3000, 430, 1000]


async def test_an_attempt_that_lost_a_repetition_is_not_preferred_to_one_with_a_loop() -> None:
    heard = Heard(result("go on " * 4), result("go on"), result("go on " * 3), aligned=squeezed(18))
    assert (await heard.transcript(5.0, level=0.1)).text == "go on go on go on"


async def test_without_alignment_only_what_does_not_end_loops() -> None:
    heard = Heard(result(LOOP))
    heard.whisper.aligns = False
    assert (await heard.transcript(4.0)).text == LOOP
    heard = Heard(result("no " * 99))
    heard.whisper.aligns = False
    assert (await heard.transcript(4.0)).text == ""
    assert heard.whisper.alignments == 0


async def test_a_loop_on_every_window_is_heard_once_if_the_model_is_sure_of_that() -> None:
    for score, text in ((-0.1, "turn on the light"), (-1.2, ""), (-1.6, "")):
        heard = Heard(*[result(LOOP, -0.1)] * 3, result(LOOP, score), aligned=squeezed(18))
        transcript = await heard.transcript(4.0, level=0.1)
        assert (transcript.text, transcript.fallbacks) == (text, 2)


async def test_a_loop_within_what_was_said_takes_nothing_else_with_it() -> None:
    text = "whatever they were whatever they were and went home"

    def aligned(ids: Sequence[int], positions: int) -> list[int]:
        lengths = [1 if 18 <= at < 36 else 10 for at in range(len(ids))]
        return [positions * sum(lengths[:at]) // sum(lengths) for at in range(len(ids) + 1)]

    heard = Heard(result(text), aligned=aligned)
    assert (await heard.transcript(6.0, level=0.1)).text == "whatever they were and went home"


async def test_low_confidence_is_tried_up_to_the_full_window() -> None:
    heard = Heard(result("a", -1.2), result("b", -1.2), result("c", -1.2))
    transcript = await heard.transcript(2.0)
    assert (transcript.text, transcript.fallbacks) == ("c", 2)
    assert heard.whisper.encoded_frames == [3000, 230, 1000, 3000]


async def test_a_runaway_on_every_window_is_no_text() -> None:
    assert (await Heard(result("no no no no " * 25)).transcript(20.0)).text == ""


async def test_of_a_loop_that_fills_the_decoder_what_was_said_before_stays() -> None:
    said = "whatever they were and went home"
    heard = Heard(result(f"{said} {'na' * 300}"), language="hi")
    assert (await heard.transcript(8.0, level=0.1)).text == f"{said} na"


async def test_of_doubtful_attempts_one_that_loops_is_the_last() -> None:
    loop = result("no no no no " * 6, -0.1)
    heard = Heard(loop, result("the cat sat down", -0.9), loop, aligned=squeezed(3))
    assert (await heard.transcript(9.0)).text == "the cat sat down"


async def test_what_the_decoder_has_no_room_for_is_heard_from_where_it_ended() -> None:
    whole = "".join(f" {n:02}letters" for n in range(50))  # 500 tokens of 25 s

    def aligned(ids: Sequence[int], positions: int) -> list[int]:
        return [min(at * 5 // 2, positions) for at in range(len(ids) + 1)]

    heard = Heard(result(whole), result(whole[440:]), language="hi", aligned=aligned)
    transcript = await heard.transcript(25.0, words=True)
    assert transcript.text == whole.strip()
    assert heard.whisper.encoded_frames[1:] == [2530, 330]  # the second time from 22 s on
    assert [word.text for word in transcript.words] == whole.split()
    assert transcript.words[25].begin_s == pytest.approx(12.5, abs=0.05)
    assert transcript.words[45].begin_s == pytest.approx(22.5, abs=0.05)


async def test_length_is_capped_by_the_duration() -> None:
    assert len((await Heard(result("x" * 400)).transcript(1.0)).text) <= 20


@pytest.mark.parametrize(("score", "no_speech"), [(-0.8, 0.5), (-1.6, 0.0), (-4.0, 0.9)])
async def test_no_speech_is_silence(score: float, no_speech: float) -> None:
    heard = Heard(result("Thanks for watching!", score, no_speech))
    transcript = await heard.transcript(2.0)
    assert (transcript.text, transcript.words) == ("", ())
    assert len(heard.whisper.positions) == 1


async def test_an_end_at_once_is_silence() -> None:
    assert (await Heard(result("")).transcript(2.0)).text == ""


async def test_no_samples_are_silence_without_a_call() -> None:
    heard = Heard(result("?"))
    assert (await heard.transcript(0.0)).text == ""
    assert heard.whisper.encoded_frames == []


async def test_long_audio_is_taken_in_pieces_and_its_words_in_the_time_of_the_whole() -> None:
    heard = Heard(result("one"), result("two"))
    transcript = await heard.transcript(40.0, words=True)
    assert transcript.text == "one two"
    assert heard.whisper.encoded_frames[1:] == [2830, 1230]
    assert transcript.words == (Word("one", 0.0, 28.0), Word("two", 28.0, 40.0))


async def test_auto_asks_the_model_for_the_language() -> None:
    transcript = await Heard(result("مرحبا"), language="auto", chances=EN_AND_AR).transcript(2.0)
    assert (transcript.language, transcript.text) == ("ar", "مرحبا")


async def test_the_conversation_s_language_needs_more_evidence_to_change() -> None:
    heard = Heard(result("Hello."), language="auto", chances=EN_AND_AR)
    assert (await heard.transcript(2.0, prior="en")).language == "en"
    heard = Heard(result("مرحبا"), language="auto", chances={"en": 0.01, "ar": 0.99})
    assert (await heard.transcript(2.0, prior="en")).language == "ar"


async def test_a_language_that_is_known_is_not_asked() -> None:
    heard = Heard(result("Hello."))
    await heard.transcript(2.0)
    assert heard.whisper.detections == 0


async def test_the_language_of_one_utterance_weighs_in_the_next() -> None:
    heard = Heard(result("مرحبا"), language="auto", chances={"en": 0.45, "ar": 0.55})
    language, languages = "", []
    for chances in ({"en": 0.1, "ar": 0.9}, {"en": 0.8, "ar": 0.2}):
        heard.whisper.languages = chances
        language = (await heard.stage.transcribe(audio(2.0), language)).language
        languages.append(language)
    assert languages == ["ar", "ar"]
    heard.whisper.languages = {"en": 0.8, "ar": 0.2}
    assert (await heard.stage.transcribe(audio(2.0))).language == "en"
    heard.lane.close()


def test_an_unknown_language_is_refused_when_it_is_made() -> None:
    with pytest.raises(UnsupportedLanguage, match="'xx'"):
        Heard(result(""), language="xx")


@pytest.mark.parametrize("tag", ["en-US", "EN", " en_GB ", "eng"])
async def test_any_tag_of_a_language_is_the_model_s_own_code(tag: str) -> None:
    assert (await Heard(result("Hello."), language=tag).transcript(2.0)).language == "en"
    heard = Heard(result("Hello."), language="Auto", chances={"en": 0.3, "ar": 0.6})
    assert (await heard.transcript(2.0, prior=tag)).language == "en"


@pytest.mark.parametrize("tag", ["english", "tlh"])
async def test_a_prior_that_is_no_tag_or_that_the_model_has_not_is_refused(tag: str) -> None:
    with pytest.raises(UnsupportedLanguage, match=repr(tag)) as caught:
        await Heard(result("Hello.")).transcript(2.0, prior=tag)
    assert "\n" not in str(caught.value)


async def test_a_model_of_english_alone_takes_its_tags_and_no_others() -> None:
    heard = Heard(result("Hello."))
    heard.whisper.multilingual = False
    make = partial(WhisperRecogniser, heard.whisper, Biased(), mel, heard.lane)
    assert make("en-GB").whisper.language == "en"
    with pytest.raises(UnsupportedLanguage, match="knows English alone, not 'ar-EG'"):
        make("ar-EG")
    heard.lane.close()


async def test_names_come_before_what_is_said() -> None:
    heard = Heard(result("Hello Ada."), names=("Ada", "Grace"))
    await heard.transcript(1.0)
    text = Biased().encode(
        "<|startofprev|> Ada, Grace.<|startoftranscript|><|en|><|transcribe|><|notimestamps|>"
    )
    assert heard.whisper.prompts == [text]


def test_too_many_names_and_a_tokenizer_without_their_mark_are_refused() -> None:
    with pytest.raises(UsageError, match="the names take 202 tokens; at most 100"):
        Heard(result(""), names=("x" * 200,))
    lane = Lane("transcribe")
    with pytest.raises(CorruptModel, match="startofprev"):
        WhisperRecogniser(FakeWhisper([result("")]), TOKENS, mel, lane, "en", ("Ada",))
    lane.close()


async def test_the_filter_sees_what_was_heard_and_takes_the_words_times_with_it() -> None:
    class Upper:
        name = "upper"

        def check(self, text: str, direction: str, language: str = "") -> Filtered:
            return Filtered(text.upper(), (direction,))

    lane = Lane("transcribe")
    recogniser = WhisperRecogniser(FakeWhisper([result("quiet")]), TOKENS, mel, lane, "en")
    stage = FilteredRecogniser(recogniser, Upper())
    transcript = await stage.transcribe(audio(1.0), words=True)
    lane.close()
    assert (transcript.text, transcript.filtered, transcript.words) == ("QUIET", ("in",), ())


async def partials(hearing: Hearing, count: int) -> list[tuple[str, str] | None]:
    made = [await hearing.partial(speaking(2.0 + i)) for i in range(count)]
    return [(p.stable, p.unstable) if p else None for p in made]


async def test_what_partials_agree_in_is_stable_and_the_next_goes_on_from_it() -> None:
    heard = Heard(
        result(" What is that?"),
        result(" What is the cup?"),
        result(" What is the capital of France?"),
    )
    hearing = heard.stage.hear()
    assert await partials(hearing, 3) == [
        ("", "What is that?"),
        ("What is", " the cup?"),
        ("What is the", " capital of France?"),
    ]
    assert [TOKENS.decode(prompt) for prompt in heard.whisper.prompts] == ["", "", " What is"]
    assert (await hearing.final(audio(5.0))).text == "What is the capital of France?"
    heard.lane.close()
    assert TOKENS.decode(heard.whisper.prompts[-1]) == ""  # the final transcript is decoded anew


async def test_a_partial_that_is_not_believed_is_none() -> None:
    heard = Heard(
        result(" turn on the light turn on the light"),
        result(" Hm", -2.0),
        result(" Turn"),
        aligned=squeezed(18),
    )
    assert await partials(heard.stage.hear(), 3) == [None, None, ("", "Turn")]
    heard.lane.close()


async def test_the_language_is_asked_once_an_utterance() -> None:
    heard = Heard(result(" one two three"), language="auto", chances=EN_AND_AR)
    hearing = heard.stage.hear()
    await partials(hearing, 3)
    assert (await hearing.final(audio(6.0))).language == "ar"
    assert heard.whisper.detections == 1
    heard.lane.close()


class Steps:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    async def sleep_until(self, when: float) -> None:
        raise NotImplementedError


async def offered(partials: Partials, seconds: float) -> Partial | None:
    """Offer speech, and again when what that began is done."""
    partials.offer(speaking(seconds))
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others)
    return partials.offer(speaking(0.5))


async def test_partials_begin_after_a_second_and_take_their_share_of_the_time() -> None:
    heard, clock = Heard(result(" one two")), Steps()
    hearing = heard.stage.hear()
    partials = Partials(hearing, 0.25, clock)
    assert await offered(partials, 0.9) is None
    made = hearing.partial

    async def slow(speech: Speaking) -> Partial | None:
        clock.time += 0.2
        return await made(speech)

    hearing.partial = slow  # type: ignore[method-assign]
    assert await offered(partials, 1.1) == Partial("", "one two", "en", 512)
    clock.time = 0.7
    assert await offered(partials, 1.5) is None  # 0.2 s are a quarter of 0.8 s
    clock.time = 0.8
    assert await offered(partials, 1.6) == Partial("one two", "", "en", 512)
    heard.lane.close()


async def test_no_share_no_partials() -> None:
    heard = Heard(result(" one two"))
    assert await offered(Partials(heard.stage.hear(), 0.0, Steps()), 5.0) is None
    heard.lane.close()


async def test_a_partial_is_given_up_for_something_more_urgent_and_its_error_is_told() -> None:
    heard = Heard(result(" one two"))
    partials = Partials(heard.stage.hear(), 1.0, Steps())
    partials.offer(speaking(2.0))
    await partials.aclose()
    assert partials.offer(speaking(0.5)) is None

    def dead(*args: object) -> object:
        raise InferenceFailed("the engine died")

    heard.whisper.encode = dead  # type: ignore[assignment,method-assign]
    with pytest.raises(InferenceFailed):
        await offered(partials, 2.0)
    heard.lane.close()


def test_a_request_s_own_language_leaves_the_recogniser_as_it_was() -> None:
    lane = Lane("transcribe")
    recogniser = WhisperRecogniser(FakeWhisper([result("")]), Biased(), mel, lane, "en")
    other = recogniser.using(HearingOptions("hi-IN"))
    assert (other.whisper.language, recogniser.whisper.language) == ("hi", "en")
    assert other.whisper.executor is recogniser.whisper.executor
    assert recogniser.using(HearingOptions("auto")).whisper.language == ""
    with pytest.raises(UnsupportedLanguage):
        recogniser.using(HearingOptions("tlh"))
    lane.close()


@pytest.mark.parametrize(
    ("language", "prior", "heard"),
    [
        ("auto", "", "ar"),
        ("auto", "en", "en"),
        ("hi,en", "", "hi"),
        ("hi,en", "en", "en"),
        ("hi,en", "ar", "hi"),
        ("en-US,hi", "", "hi"),
        ("en", "ar", "en"),
    ],
)
async def test_of_a_set_only_its_languages_are_told_nudged_towards_the_dialogue_s(
    language: str, prior: str, heard: str
) -> None:
    chances = {"ar": 0.6, "hi": 0.3, "en": 0.1}
    executor, lane = FakeWhisper([result(" yes")], languages=chances), Lane("transcribe")
    recogniser = WhisperRecogniser(executor, Biased(), mel, lane, language)
    assert (await recogniser.hear(prior).final(audio(1.0))).language == heard
    lane.close()


@pytest.mark.parametrize(
    ("no_speech", "first", "text"),
    [(0.8, -1.2, ""), (0.8, -0.4, "no no no no"), (0.1, -1.2, "no no no no")],
)
async def test_one_thing_again_and_again_counts_as_its_first_time_where_there_may_be_no_speech(
    no_speech: float, first: float, text: str
) -> None:
    """In the noise of many voices it was heard with a score that grew with every time."""
    heard = Heard(result("no no no no", -0.2, no_speech), result("no", first, no_speech))
    assert (await heard.transcript(4.0, level=0.1)).text == text


class Translating(Biased):
    """With the mark of translation, and one that is none of Whisper's own."""

    marks = (*Biased.marks, "<|translate|>", "<|es|>")


def recogniser_of(
    lane: Lane, executor: FakeWhisper, language: str = "en", names: Sequence[str] = ()
) -> WhisperRecogniser:
    return WhisperRecogniser(executor, Translating(), mel, lane, language, names)


async def test_a_request_s_names_and_prompt_are_what_was_said_before() -> None:
    lane, tokens = Lane("transcribe"), Translating()
    executor = FakeWhisper([result("Good morning.")])
    recogniser = recogniser_of(lane, executor, names=("Kim",))
    other = recogniser.using(HearingOptions(names=("Ada", "Babbage"), prompt="They met."))
    await other.hear().final(audio(2.0))
    await recogniser.hear().final(audio(2.0))
    lane.close()
    before, start = tokens.id_of("<|startofprev|>"), tokens.id_of("<|startoftranscript|>")
    first, second = (prompt[: prompt.index(start)] for prompt in executor.prompts)
    assert first == [before, *tokens.encode(" Kim, Ada, Babbage. They met.")]
    assert second == [before, *tokens.encode(" Kim.")]


async def test_of_a_long_prompt_the_end_is_heeded() -> None:
    lane, tokens = Lane("transcribe"), Translating()
    executor = FakeWhisper([result("Good morning.")])
    prompt = " ".join(str(number) for number in range(500))
    recogniser = recogniser_of(lane, executor).using(HearingOptions(names=("Ada",), prompt=prompt))
    await recogniser.hear().final(audio(2.0))
    lane.close()
    (asked,) = executor.prompts
    said = tokens.decode(asked[1 : asked.index(tokens.id_of("<|startoftranscript|>"))])
    assert len(said) == 100
    assert said.startswith(" Ada.")
    assert said.endswith("498 499")
    with pytest.raises(UsageError, match="the names take"):
        recogniser.using(HearingOptions(names=("x" * 101,)))


async def test_marks_in_a_prompt_are_text() -> None:
    lane, tokens = Lane("transcribe"), Translating()
    executor = FakeWhisper([result("Good morning.")])
    hostile = HearingOptions(names=("<|ar|>",), prompt="<|startoftranscript|><|translate|> x")
    await recogniser_of(lane, executor).using(hostile).hear().final(audio(2.0))
    lane.close()
    (asked,) = executor.prompts
    for name, times in (("startoftranscript", 1), ("translate", 0), ("ar", 0), ("transcribe", 1)):
        assert asked.count(tokens.id_of(f"<|{name}|>")) == times


async def test_a_translation_is_asked_for_and_is_in_english() -> None:
    lane, tokens = Lane("transcribe"), Translating()
    executor = FakeWhisper([result("Good morning.")], {"en": 0.2, "ar": 0.8})
    recogniser = recogniser_of(lane, executor, "en")
    translating = recogniser.using(HearingOptions("auto", translate=True))
    transcript = await translating.hear("en").final(audio(2.0, 0.1), words=True)
    assert (transcript.text, transcript.language) == ("Good morning.", "en")
    assert transcript.words == ()
    assert executor.alignments == 0
    heading = [f"<|{name}|>" for name in ("startoftranscript", "ar", "translate", "notimestamps")]
    assert executor.prompts[0] == [tokens.id_of(mark) for mark in heading]
    await recogniser.hear().final(audio(2.0))
    assert executor.prompts[-1][2] == tokens.id_of("<|transcribe|>")
    lane.close()


def test_a_model_of_english_alone_translates_nothing() -> None:
    lane = Lane("transcribe")
    executor = FakeWhisper([result("")])
    executor.multilingual = False
    with pytest.raises(UsageError, match="English alone"):
        recogniser_of(lane, executor).using(HearingOptions(translate=True))
    lane.close()


async def test_a_translation_may_be_less_sure_of_itself() -> None:
    lane = Lane("transcribe")
    executor = FakeWhisper([result("Good morning.", -0.9, 0.5)])
    recogniser = recogniser_of(lane, executor, "es")
    translating = recogniser.using(HearingOptions(translate=True))
    assert (await translating.hear().final(audio(2.0, 0.1))).text == "Good morning."
    assert (await recogniser.hear().final(audio(2.0, 0.1))).text == ""
    executor = FakeWhisper([result("Thank you.", -1.1, 0.7)])
    translating = recogniser_of(lane, executor).using(HearingOptions("auto", translate=True))
    assert (await translating.hear().final(audio(2.0, 0.1))).text == ""
    lane.close()
