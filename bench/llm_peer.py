"""CTranslate2 or llama.cpp in a process of its own: the peers of `voxturn bench llm`.

Run with any Python that has the library: `python llm_peer.py ctranslate2|llama MODEL THREADS`. Reads a JSON request a
line on standard input, answers with one on standard output. Imports nothing of voxturn, which need not be there.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path


class CTranslate2:
    """Its one cache between calls is an identical `static_prompt`."""

    def __init__(self, model: str, threads: int) -> None:
        import ctranslate2

        self.version = ctranslate2.__version__
        self._generator = ctranslate2.Generator(
            model, device="cpu", compute_type="int8", intra_threads=threads
        )
        self._names = json.loads(Path(model, "vocabulary.json").read_text(encoding="utf-8"))

    def tokens(self, prompt: list[int], cached: int, count: int) -> Iterator[object]:
        names = [self._names[i] for i in prompt]
        options = {"static_prompt": names[:cached], "cache_static_prompt": True} if cached else {}
        yield from self._generator.generate_tokens(
            names[cached:], max_length=count, sampling_topk=1, end_token=self._names[1], **options
        )

    def warm(self, prompt: list[int]) -> None:
        """The static prompt is cached when it is first used."""
        next(self.tokens([*prompt, prompt[-1]], len(prompt), 1))


class Llama:
    """It keeps the keys and values of a prompt's beginning."""

    def __init__(self, model: str, threads: int) -> None:
        import llama_cpp  # type: ignore[import-not-found]  # in its own Python

        self.version = llama_cpp.__version__
        self._llama = llama_cpp.Llama(
            model,
            n_ctx=2048,
            n_threads=threads,
            n_threads_batch=threads,
            verbose=False,
            logits_all=False,
        )

    def tokens(self, prompt: list[int], cached: int, count: int) -> Iterator[object]:
        self._llama.n_tokens = cached
        self._llama.eval(prompt[cached:])
        for i in range(count):
            yield i
            if i + 1 < count:
                self._llama.eval([prompt[i % len(prompt)]])

    def warm(self, prompt: list[int]) -> None:
        """Compute a prompt, which stays."""
        self._llama.n_tokens = 0
        self._llama.eval(prompt)


def main() -> None:
    """Answer requests until the input ends."""
    kind, model, threads = sys.argv[1:]
    peers: dict[str, type[CTranslate2 | Llama]] = {"ctranslate2": CTranslate2, "llama": Llama}
    peer = peers[kind](model, int(threads))
    sys.stdout.write(json.dumps({"version": peer.version}) + "\n")
    sys.stdout.flush()
    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        if request["cached"]:
            peer.warm(request["prompt"][: request["cached"]])
        begin, arrivals = time.perf_counter(), []
        for _ in peer.tokens(request["prompt"], request["cached"], request["count"]):
            arrivals.append(time.perf_counter() - begin)
        sys.stdout.write(json.dumps({"arrivals_s": arrivals}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
