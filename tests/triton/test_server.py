"""Turns through a real server: answers, errors, cancellation, death, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voxturn.runtime import errors
from voxturn.runtime.audio.decode import decode_all
from voxturn.runtime.client import SyncVoiceClient, VoiceClient
from voxturn.runtime.executors.onnx import OnnxGraph
from voxturn.runtime.flow.scheduling import Cores
from voxturn.runtime.messages import Partial, PcmChunk, Transcript
from voxturn.runtime.models.manifest import Manifest
from voxturn.runtime.remote.contract import MODELS as SERVED
from voxturn.runtime.remote.contract import WINDOW, Piece
from voxturn.runtime.remote.tensors import text_of
from voxturn.runtime.remote.transport import TritonServer
from voxturn.runtime.serving import launcher
from voxturn.runtime.serving.health import silent
from voxturn.runtime.serving.processes import command_of, descendants
from voxturn.runtime.xtts import XTTS

from tests.security.storm import storm
from tests.security.strangers import Strangers
from tests.tiny.conftest import Tiny
from tests.triton.conftest import MODELS, PYTHON, ROOT, Running, memory_mb, serve
from tests.voiced import voiced

QUESTION = ROOT / "runtime/demo/question.wav"


async def spoken(client: VoiceClient, text: str, **options: Any) -> list[PcmChunk]:
    return [chunk async for chunk in client.say(text, **options)]


async def test_the_question_is_heard_answered_and_the_answer_spoken(server: Running) -> None:
    async with VoiceClient(server.grpc) as client:
        heard = await client.transcribe(decode_all(QUESTION, 16000))
        assert "France" in heard.text
        assert heard.language == "en"
        tokens = [token async for token in client.reply(("user", heard.text))]
        assert len(tokens) > 3
        assert "Paris" in "".join(token.text for token in tokens)
        chunks = await spoken(client, "It is Paris.", language="en")
        assert chunks[-1].final
        assert sum(chunk.samples.size for chunk in chunks) > 1000
        assert [chunk.start for chunk in chunks] == np.cumsum(
            [0, *(c.samples.size for c in chunks)]
        )[:-1].tolist()


async def test_a_conversation_is_kept_by_its_client_and_its_id(server: Running) -> None:
    first, second = (
        ("user", "What is the capital of France?"),
        ("user", "How many people live there?"),
    )

    async def answer(client: VoiceClient, *messages: tuple[str, str]) -> str:
        return "".join([token.text async for token in client.reply(*messages)])

    async with (
        VoiceClient(server.grpc, "a", name="me") as client,
        VoiceClient(server.grpc, "a") as stranger,
        VoiceClient(server.grpc, "a", name="me") as again,
    ):
        await answer(client, first)
        assert await answer(again, second) != await answer(stranger, second)


async def test_the_served_voice_says_what_the_embedded_one_says(
    server: Running, tiny: Tiny
) -> None:
    async with VoiceClient(server.grpc) as client:
        served = await asyncio.gather(
            *(spoken(client, "Good morning.", language="en", seed=n) for n in range(4))
        )
    with XTTS.load(tiny.short, vocoder="onnx") as voice:
        for seed, chunks in enumerate(served):
            wanted = voice.tts("Good morning.", language="en", seed=seed)
            np.testing.assert_allclose(
                np.concatenate([c.samples for c in chunks]), wanted, atol=2e-4
            )


def latents(
    sequences: int,
    count: int,
    width: int,
    names: tuple[str, ...] = ("latents", "speaker"),
    scale: float = 0.0,
) -> dict[str, Any]:
    made = {
        "latents": np.full((sequences, count, width), scale),
        "speaker": np.zeros((sequences, 512, 1)),
    }
    return {name: made[name].astype(np.float32) for name in names}


BAD: list[tuple[str, dict[str, Any], type[errors.VoxturnError]]] = [
    ("xtts", {}, errors.UsageError),
    ("xtts", {"text": ""}, errors.EmptyText),
    ("xtts", {"text": "🙂"}, errors.EmptyText),
    ("xtts", {"text": "x" * 20_000}, errors.TextTooLong),
    ("xtts", {"text": "hello", "language": "tlh"}, errors.UnsupportedLanguage),
    ("xtts", {"text": "hello", "voice": "nobody"}, errors.UnknownVoice),
    ("xtts", {"text": "hello", "voice": "../x"}, errors.UsageError),
    ("xtts", {"text": "hello", "speed": np.array([99.0], np.float32)}, errors.UsageError),
    ("xtts", {"text": np.array([1.0], np.float32)}, errors.VoxturnError),
    ("xtts", {"nonsense": "hello"}, errors.VoxturnError),
    ("whisper", {"audio": np.zeros(0, np.float32)}, errors.EmptyAudio),
    ("whisper", {"audio": np.full(16000, np.nan, np.float32)}, errors.InvalidSamples),
    ("whisper", {"audio": np.zeros((2, 160), np.float32)}, errors.VoxturnError),
    ("whisper", {"audio": np.zeros(16000, np.int32)}, errors.VoxturnError),
    ("xtts", {"request": '{"keep": false}'}, errors.UsageError),
    ("xtts_hifigan", latents(1, 4, 7), errors.InferenceFailed),
    ("xtts_hifigan", latents(1, 0, 64), errors.UsageError),
    ("xtts_hifigan", latents(9, 4, 64), errors.UsageError),
    ("xtts_hifigan", latents(2, 4, 64) | latents(1, 4, 64, ("speaker",)), errors.UsageError),
    ("xtts_hifigan", latents(1, 4, 64, scale=np.nan), errors.InvalidSamples),
    ("xtts_vocoder", latents(1, 4, 64), errors.UsageError),
    (
        "xtts_vocoder",
        latents(1, 4, 64) | {name: np.array([-1], np.int64) for name in WINDOW},
        errors.UsageError,
    ),
    ("whisper", {"request": '{"call": "sing", "name": "x"}'}, errors.UsageError),
    (
        "whisper",
        {"request": '{"call": "generate", "name": "x", "prompt": [1], "max_tokens": 2}'},
        errors.ForgottenWindow,
    ),
    ("whisper", {"request": "[" * 20_000}, errors.UsageError),
    ("xtts", {"text": np.array([b"\xff"], np.object_)}, errors.UsageError),
    ("qwen3", {"messages": '[{"role": "user", "text": "\\ud800"}]'}, errors.UsageError),
    ("qwen3", {"messages": "[" * 20_000}, errors.UsageError),
    ("qwen3", {"messages": "no JSON"}, errors.UsageError),
    ("qwen3", {"messages": '[{"role": "king", "text": "x"}]'}, errors.UsageError),
    (
        "qwen3",
        {"messages": '[{"role": "user", "text": "' + "x " * 6000 + '"}]'},
        errors.TextTooLong,
    ),
    ("no_such_model", {"text": "x"}, errors.ServerUnavailable),
]


@pytest.mark.parametrize(
    ("model", "inputs", "kind"), BAD, ids=[f"{m}-{i}" for i, (m, _, _) in enumerate(BAD)]
)
async def test_bad_requests_end_in_typed_errors(
    server: Running, model: str, inputs: dict[str, Any], kind: type[errors.VoxturnError]
) -> None:
    connection = TritonServer(server.grpc)
    try:
        with pytest.raises(kind):
            if model in SERVED and not SERVED[model].streams:
                await connection.infer(model, inputs)
            else:
                async for _ in connection.stream(model, inputs):
                    pass
        assert all([await connection.answers(name, 5.0) for name in MODELS])
    finally:
        await connection.aclose()


async def test_latents_of_one_s_own_are_vocoded_several_at_once(
    server: Running, tiny: Tiny
) -> None:
    contract = Manifest.read(tiny.short).graphs["sequence_waveform_decoder"]
    graph = OnnxGraph(tiny.short / contract.file, contract, Cores().budget("vocode", 1))
    random, width = np.random.default_rng(0), int(contract.inputs[0].shape[2])

    def request(sequences: int, count: int) -> dict[str, Any]:
        return {
            "latents": random.standard_normal((sequences, count, width)).astype(np.float32),
            "speaker": random.standard_normal((sequences, 512, 1)).astype(np.float32),
        }

    requests = [request(*shape) for shape in ((1, 5), (2, 5), (1, 7), (1, 5), (8, 5), (3, 7))]
    connection = TritonServer(server.grpc)
    try:
        answers = await asyncio.gather(
            *(connection.infer("xtts_hifigan", each) for each in requests)
        )
    finally:
        await connection.aclose()
    for answer, each in zip(answers, requests, strict=True):
        np.testing.assert_allclose(answer["audio"], graph.run(each)["audio"], atol=1e-5)
    graph.close()


async def test_cancelled_streams_free_their_slots(server: Running) -> None:
    async with VoiceClient(server.grpc) as client:
        for _ in range(12):  # more than there are slots
            stream = client.say(
                "A sentence that takes a while to be said by anyone.", language="en"
            )
            await anext(stream)
            await stream.aclose()
        async with asyncio.timeout(20):
            assert await spoken(client, "Hello.", language="en")


@pytest.mark.parametrize("address", ["127.0.0.1:9", "nonsense"])
async def test_no_server(address: str) -> None:
    async with VoiceClient(address) as client:
        with pytest.raises(errors.ServerUnavailable, match="no server answers there"):
            await client.transcribe(np.zeros(16000, np.float32))
        with pytest.raises(errors.ServerUnavailable, match="no server answers there"):
            await spoken(client, "hello")


def triton_of(server: Running) -> int:
    """The process of the server itself; 0 while there is none."""
    return next(
        (pid for pid in descendants(server.process.pid) if "bin/tritonserver" in command_of(pid)),
        0,
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_server_that_dies_or_hangs_is_started_again_with_its_models(
    server: Running, number: int
) -> None:
    async with VoiceClient(server.grpc) as client:
        assert await spoken(client, "Hello.", language="en")
        before = triton_of(server)
        os.kill(before, number)
        async with asyncio.timeout(60):
            while triton_of(server) in (0, before):  # noqa: ASYNC110  it is asked
                await asyncio.sleep(0.1)
            while await silent(server.grpc, MODELS):  # noqa: ASYNC110  as above
                await asyncio.sleep(0.2)
        assert await spoken(client, "Hello.", language="en")  # the same client, at the same address


def launched(server: Running, model: str) -> int | None:
    """The process of a model; None while there is none."""
    family = descendants(server.process.pid)
    return next((pid for pid in family if f"/{model}/1/model.py" in command_of(pid)), None)


def stub_of(server: Running, model: str) -> int:
    process = launched(server, model)
    assert process is not None, f"no process of {model}"
    return process


async def test_a_model_killed_at_random_moments_is_an_error_in_time_and_is_started_again(
    server: Running,
) -> None:
    random = np.random.default_rng(0)
    failures = (errors.ServerDied, errors.ServerUnavailable, errors.InferenceFailed)
    first = triton_of(server)
    async with VoiceClient(server.grpc) as client:
        said = [0, 0]

        async def listen(who: int) -> None:
            for number in range(1000):
                await spoken(
                    client, "A sentence that takes a while to be said.", language="en", seed=number
                )
                said[who] += 1

        async def fails(task: asyncio.Task[None], who: int) -> bool:
            """Whether its stream ends in an error. One that was between two streams may go on with the next model."""
            before = said[who]
            async with asyncio.timeout(4):
                while not task.done() and said[who] < before + 2:  # noqa: ASYNC110  it is asked
                    await asyncio.sleep(0.02)
            if task.done():
                with pytest.raises(failures):
                    task.result()
                return True
            task.cancel()
            await asyncio.wait([task])
            return False

        async def reads() -> None:
            text = "".join(
                [
                    token.text
                    async for token in VoiceClient(server.grpc).reply(("user", "Count to ten."))
                ]
            )
            assert text

        async def goes_on() -> bool:
            try:
                assert await spoken(client, "Hello.", language="en")
            except failures:
                return False
            return not await silent(
                server.grpc, MODELS
            )  # a server that died, too, loads the others later

        failed = 0
        for _ in range(20):
            talking = [asyncio.create_task(listen(who)) for who in range(2)]
            reading = asyncio.create_task(reads())
            await asyncio.sleep(float(random.uniform(0, 0.5)))
            killed, serving = time.monotonic(), triton_of(server)
            os.kill(stub_of(server, "xtts"), signal.SIGKILL)
            failed += sum(
                await asyncio.gather(*(fails(task, who) for who, task in enumerate(talking)))
            )
            async with asyncio.timeout(20):
                try:
                    await reading  # other models go on,
                except failures:
                    assert (
                        triton_of(server) != serving
                    )  # but where the model held a lock of the server's, which died
            while not await goes_on():
                assert time.monotonic() < killed + 30, "the model was not started again"
                await asyncio.sleep(0.1)
    assert failed >= 20  # of 40
    page = urllib.request.urlopen(f"http://{server.metrics}/metrics", timeout=5).read().decode()  # noqa: ASYNC210
    assert 'voxturn_loads_total{model="xtts"} ' in page
    if triton_of(server) == first:
        assert (
            'voxturn_loads_total{model="xtts"} 21' in page
        )  # it survives the model's process: how often it healed


async def test_a_model_that_hangs_is_an_error_in_time_and_is_started_again(server: Running) -> None:
    text = "A sentence that takes a while to be said. " * 12
    async with VoiceClient(server.grpc) as client:
        stream = client.say(text, language="en")
        await anext(stream)
        hung = stub_of(server, "xtts")
        os.kill(hung, signal.SIGSTOP)
        async with asyncio.timeout(10):
            with pytest.raises((errors.ServerDied, errors.InferenceFailed)):
                while True:
                    await anext(stream)
        async with asyncio.timeout(60):
            while launched(server, "xtts") in (None, hung):  # noqa: ASYNC110  it is asked
                await asyncio.sleep(0.1)
            while await silent(server.grpc, ["xtts"]):  # noqa: ASYNC110  as above
                await asyncio.sleep(0.1)
        assert await spoken(client, text, language="en")


async def test_a_canary_does_not_wait_behind_the_requests_before_it(server: Running) -> None:
    question = {"audio": decode_all(QUESTION, 16000), "language": ""}
    connection = TritonServer(server.grpc)
    try:
        asked = [asyncio.create_task(connection.infer("whisper", question)) for _ in range(12)]
        await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)  # the others wait there
        assert await connection.answers("whisper", 60.0)
        assert not all(task.done() for task in asked)
        await asyncio.gather(*asked)
    finally:
        await connection.aclose()


async def test_of_two_servers_one_is_killed_and_new_streams_go_on(profile: Path) -> None:
    servers = [serve(profile, ["xtts"]) for _ in range(2)]
    try:
        outcomes: list[BaseException | None] = []
        async with VoiceClient(",".join(each.grpc for each in servers)) as client:
            dead = asyncio.Event()

            async def listen(number: int) -> None:
                for turn in range(30):
                    try:
                        assert await spoken(
                            client, "A sentence that takes a while.", language="en", seed=number
                        )
                        outcomes.append(None)
                        if dead.is_set() and turn > 3:
                            return
                    except errors.VoxturnError as exc:
                        outcomes.append(exc)

            talking = [asyncio.create_task(listen(number)) for number in range(4)]
            await asyncio.sleep(1.0)
            family = list(descendants(servers[0].process.pid))
            servers[0].process.kill()
            for pid in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            dead.set()
            async with asyncio.timeout(60):
                await asyncio.gather(*talking)
            failed = [exc for exc in outcomes if exc is not None]
            assert len(failed) <= len(talking)  # those in flight there alone
            assert all(isinstance(exc, errors.ServerDied) for exc in failed)
            assert outcomes.count(None) >= len(talking)
    finally:
        for each in servers:
            each.stop()
    launcher._remove_stale()  # the killed one could not; the next server does
    assert not regions_of(servers[0].process.pid)


async def test_an_utterance_piece_by_piece_gives_partials_and_the_transcript(
    server: Running,
) -> None:
    samples = decode_all(QUESTION, 16000)

    async def pieces() -> AsyncIterator[Any]:
        for begin in range(0, samples.size, 8000):
            yield samples[begin : begin + 8000]

    async with VoiceClient(server.grpc) as client:
        heard = [found async for found in client.hear(pieces())]
        assert isinstance(heard[-1], Transcript)
        assert "France" in heard[-1].text
        partials = [found for found in heard if isinstance(found, Partial)]
        assert partials
        stable = [found.stable for found in partials]
        assert all(later.startswith(before) for before, later in itertools.pairwise(stable))


async def test_a_voice_is_cloned_from_samples_in_the_request(server: Running, tiny: Tiny) -> None:
    speech = voiced(4.0)
    async with VoiceClient(server.grpc) as client:
        cloned = await spoken(client, "Good morning.", language="en", reference=speech)
        assert np.concatenate([chunk.samples for chunk in cloned]).size > 1000
        with pytest.raises(errors.AudioError):
            await spoken(
                client, "Good morning.", language="en", reference=np.zeros(64000, np.float32)
            )


async def test_a_deadline_ends_a_request(server: Running) -> None:
    async with VoiceClient(server.grpc, deadline_s=0.001) as client:
        with pytest.raises(errors.DeadlineExceeded):
            await spoken(
                client, "A sentence that takes a while to be said by anyone.", language="en"
            )


def test_the_synchronous_client_talks_to_a_server(server: Running) -> None:
    with SyncVoiceClient(server.grpc) as client:
        assert "France" in client.transcribe(decode_all(QUESTION, 16000)).text
        chunks = list(client.say("Hello.", language="en"))
        assert chunks[-1].final


async def test_large_inputs_of_several_requests_at_once(server: Running) -> None:
    question = {"audio": decode_all(QUESTION, 16000), "language": ""}
    connection = TritonServer(server.grpc)
    try:
        answers = await asyncio.gather(*(connection.infer("whisper", question) for _ in range(3)))
        assert {text_of(answer["text"]) for answer in answers} == {text_of(answers[0]["text"])}
        assert "France" in text_of(answers[0]["text"])
    finally:
        await connection.aclose()


async def test_metrics_say_what_the_models_did(server: Running) -> None:
    async with VoiceClient(server.grpc) as client:
        await spoken(client, "Good morning.", language="en")
    for _ in range(50):  # the server collects them now and then
        page = urllib.request.urlopen(f"http://{server.metrics}/metrics", timeout=5).read().decode()  # noqa: ASYNC210
        if 'voxturn_first_audio_seconds_count{model="xtts"}' in page:
            break
        await asyncio.sleep(0.1)
    for series in ("voxturn_tokens_total", "voxturn_slots_busy", "voxturn_loads_total"):
        assert f'{series}{{model="xtts"}}' in page, series
    assert (
        'voxturn_requests_total{model="xtts",outcome="done"}' in page
        or 'outcome="done",model="xtts"' in page
    )
    assert "nv_inference_request_success" in page


def gone(family: list[int], serving: int) -> None:
    """Wait until the processes have ended; of the one that served, nothing is left."""
    for _ in range(600):
        if not any(Path(f"/proc/{pid}").exists() for pid in family):
            break
        time.sleep(0.05)
    else:
        raise AssertionError("processes are left")
    assert not regions_of(serving)


def regions_of(serving: int) -> list[Path]:
    return list(Path("/dev/shm").glob(f"voxturn{serving}_*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_behind(profile: Path, number: int) -> None:
    running = serve(profile)
    family = list(descendants(running.process.pid))
    assert len(family) >= 1 + len(MODELS)
    assert regions_of(running.process.pid)
    running.stop(number)
    gone(family, running.process.pid)
    assert running.process.returncode == (0 if number == signal.SIGTERM else -signal.SIGKILL)


def test_a_model_that_does_not_load_is_one_line_with_reason_and_remedy(
    profile: Path, tiny: Tiny, tmp_path: Path
) -> None:
    broken, settings = tmp_path / "broken", tmp_path / "broken.toml"
    shutil.copytree(tiny.short, broken)
    graph = Manifest.read(broken).graphs["windowed_waveform_decoder"].file
    (broken / graph).write_bytes(b"no graph".ljust((broken / graph).stat().st_size))
    text = profile.read_text(encoding="utf-8").replace(str(tiny.short), str(broken))
    settings.write_text(text, encoding="utf-8")
    command = [str(PYTHON), "-P", "-m", "voxturn.runtime.cli", "serve", "triton"]
    done = subprocess.run(
        [*command, "--profile", str(settings), "--models", "xtts"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == errors.CorruptModel.exit_code
    (line,) = done.stderr.splitlines()
    assert line.startswith("voxturn: model 'xtts' does not load: ")
    assert str(broken) in line
    assert line.endswith("again")  # what to do


TESTING = """
import pathlib, sys, time
from tests.triton.conftest import serve
print(serve(pathlib.Path(sys.argv[1])).process.pid, flush=True)
time.sleep(600)
"""


def test_nothing_is_left_of_a_test_that_is_killed(profile: Path) -> None:
    killed = subprocess.Popen(
        [sys.executable, "-c", TESTING, str(profile)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert killed.stdout is not None
    serving = int(killed.stdout.readline())
    family = [serving, *descendants(serving)]
    killed.stdout.close()
    killed.kill()
    killed.wait(60)
    gone(family, serving)


DOCKER = """#!{python} -P
# stands for docker: `compose … up` is the embedded server at the ports that the container would publish
import json, os, signal, sys
with open({log!r}, "a") as log:
    log.write(json.dumps([sys.argv[1:], os.environ["VOXTURN_SERVED"]]) + "\\n")
if "down" in sys.argv:
    sys.exit()
signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGINT}})
from voxturn.runtime.serving import launcher
launcher._free_ports = lambda count: [int(os.environ[f"VOXTURN_{{name}}_PORT"]) for name in ("GRPC", "METRICS")]
launcher.secrets.token_urlsafe = lambda: os.environ["VOXTURN_SECRET"]
with launcher.EmbeddedTriton(launcher.repository(), {{"VOXTURN_PROFILE": {profile!r}}}):
    signal.sigwait({{signal.SIGINT}})
"""


def test_a_container_is_asked_by_canary_healed_and_removed(profile: Path, tmp_path: Path) -> None:
    log, program = tmp_path / "log", tmp_path / "docker"
    program.write_text(DOCKER.format(python=PYTHON, log=str(log), profile=str(profile)))
    program.chmod(0o755)
    ports = dict(zip(("GRPC", "METRICS"), launcher._free_ports(2), strict=True))
    environment = {f"VOXTURN_{name}_PORT": str(port) for name, port in ports.items()}
    environment |= {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = [
        str(PYTHON),
        "-P",
        "-m",
        "voxturn.runtime.cli",
        "serve",
        "triton",
        "--docker",
        "--models",
        "xtts",
        "--profile",
        "cpu",
    ]
    with subprocess.Popen(
        command,
        env=dict(os.environ) | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            assert process.stdout.readline() == f"grpc 127.0.0.1:{ports['GRPC']}\n"
            assert asyncio.run(silent(f"127.0.0.1:{ports['GRPC']}", ["xtts"])) == []
            os.kill(stub_of(Running(process, "", ""), "xtts"), signal.SIGKILL)
            said = [
                line
                for line in iter(process.stderr.readline, "xtts: answers again\n")
                if "xtts: died" in line
            ]
            assert said == ["xtts: died; starting it again\n"]
            family = list(descendants(process.pid))
        finally:
            process.terminate()
        assert process.wait(60) == 0
    asked = [json.loads(line) for line in log.read_text().splitlines()]
    assert [words[3] for words, _ in asked] == ["up", "down"]
    assert {served for _, served in asked} == {"xtts"}
    gone(family, process.pid)


def test_a_container_that_ends_is_an_error(tmp_path: Path) -> None:
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    command = [
        str(PYTHON),
        "-P",
        "-m",
        "voxturn.runtime.cli",
        "serve",
        "triton",
        "--docker",
        "--models",
        "xtts",
    ]
    environment = dict(os.environ) | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == errors.ServerUnavailable.exit_code
    assert done.stderr == "voxturn: the container's server did not start (docker compose: 3)\n"


async def test_an_utterance_without_its_beginning_has_no_transcript(server: Running) -> None:
    samples, connection = decode_all(QUESTION, 16000), TritonServer(server.grpc, name="me")
    half = samples.size // 2
    try:
        with pytest.raises(errors.ForgottenSequence):
            await connection.infer(
                "whisper", {"audio": samples[half:]}, Piece(7, start=False, end=True)
            )
        await connection.infer("whisper", {"audio": samples[:half]}, Piece(7, start=True))
        answer = await connection.infer(
            "whisper", {"audio": samples[half:]}, Piece(7, start=False, end=True)
        )
        assert "capital of France" in text_of(answer["text"])
    finally:
        await connection.aclose()


async def test_an_utterance_that_is_left_or_refused_has_no_transcript(server: Running) -> None:
    piece, connection = np.zeros(8000, np.float32), TritonServer(server.grpc, name="me")

    async def ends(sequence: int) -> None:
        with pytest.raises(errors.ForgottenSequence):
            await connection.infer("whisper", {"audio": piece}, Piece(sequence, False, end=True))

    try:
        for sequence in (7, 8):
            await connection.infer("whisper", {"audio": piece}, Piece(sequence, start=True))
        await connection.forget("whisper", 7)
        await ends(7)
        with pytest.raises(errors.AudioTooLong):
            long = np.zeros(4_800_001, np.float32)
            await connection.infer("whisper", {"audio": long}, Piece(8, start=False))
        await ends(8)
    finally:
        await connection.aclose()


async def test_random_requests_are_answered_and_leave_the_models_as_they_were(
    server: Running,
) -> None:
    models = ("xtts", "xtts_vocoder", "xtts_hifigan", "whisper", "qwen3")
    ended = await storm(server.grpc, Strangers(3, models), 500)
    assert ended["answered"] > 20
    assert ended["UsageError"] > 50
    assert await silent(server.grpc, MODELS) == []


async def test_a_thousand_malformed_requests_and_two_hundred_streams_leave_memory_flat(
    server: Running,
) -> None:
    random, connection = np.random.default_rng(0), TritonServer(server.grpc)
    client = VoiceClient(server.grpc)

    async def refused(number: int) -> None:
        model, inputs, kind = BAD[number]
        with pytest.raises(kind):
            if model in SERVED and not SERVED[model].streams:
                await connection.infer(model, inputs)
            else:
                async for _ in connection.stream(model, inputs):
                    pass

    async def storm(requests: int, streams: int) -> None:
        for _ in range(requests // 8):
            await asyncio.gather(*(refused(int(i)) for i in random.integers(0, len(BAD), 8)))
        for _ in range(streams // 4):
            heard = await asyncio.gather(
                *(spoken(client, "Hello.", language="en", seed=n) for n in range(4))
            )
            assert all(heard)

    try:
        await storm(200, 24)  # allocators reach their size
        before = memory_mb(server)
        await storm(1000, 200)
        assert memory_mb(server) - before < 30
        assert await silent(server.grpc, MODELS) == []
        assert await silent(server.grpc, ["voice_turn"]) == ["voice_turn"]  # not loaded
    finally:
        await client.aclose()
        await connection.aclose()
