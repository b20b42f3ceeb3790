"""coqui-tts in a process of its own: the peer of `voxturn bench tts` and `voxturn bench speaking`.

Reads a JSON request a line on standard input, answers with one on standard output. Its modules are
unpatched; only its tokenizer is told which ids to give, so that both sides get the same.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.bench.harness import peak_rss_mb
from voxturn.export.coqui import modules as coqui
from voxturn.export.xtts.checkpoint import XttsCheckpoint


class Peer:
    """A loaded `Xtts` and one of its studio voices."""

    def __init__(self, checkpoint: Path, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        opened = XttsCheckpoint.open(checkpoint)
        self.model = coqui.load(opened)
        voice = next(iter(opened.speakers().values()))
        self.latents, self.speaker = (
            torch.from_numpy(voice[key]) for key in ("gpt_cond_latent", "speaker_embedding")
        )
        self.most = self.model.gpt.max_gen_mel_tokens

    def stream(self, tokens: list[int], codes: int) -> dict[str, Any]:
        """`inference_stream` at its defaults, the stop token suppressed, for exactly `codes` codes."""
        self.model.tokenizer.encode = lambda *_, **__: tokens
        self.model.gpt.max_gen_mel_tokens = codes
        begin, arrivals, samples = time.perf_counter(), [], 0
        stop = [self.model.gpt.stop_audio_token]
        for chunk in self.model.inference_stream(
            "x", "en", self.latents, self.speaker, suppress_tokens=stop
        ):
            arrivals.append(time.perf_counter() - begin)
            samples += int(chunk.shape[-1])
        return {
            "first_s": arrivals[0],
            "total_s": arrivals[-1],
            "audio_s": samples / 24000,
            "rss_mb": peak_rss_mb(),
        }

    def speak(self, tokens: list[int], sampling: dict[str, Any], output: str) -> dict[str, Any]:
        """`inference` on ids; the wave as float32 into `output`."""
        import torch

        self.model.tokenizer.encode = lambda *_, **__: tokens
        self.model.gpt.max_gen_mel_tokens = self.most
        torch.manual_seed(sampling.pop("seed", 0))
        out = self.model.inference("x", "en", self.latents, self.speaker, **sampling)
        np.save(output, np.asarray(out["wav"], np.float32))
        return {"codes": int(out["gpt_latents"].shape[1])}

    def codes(self, tokens: list[int], steps: int) -> dict[str, Any]:
        """`GPT.generate`, greedy with the default repetition penalty."""
        import torch

        self.model.gpt.max_gen_mel_tokens = steps
        with torch.no_grad():
            out = self.model.gpt.generate(
                cond_latents=self.latents,
                text_inputs=torch.tensor([tokens]),
                do_sample=False,
                num_beams=1,
                repetition_penalty=10.0,
            )
        return {"codes": out[0].tolist()}


def main() -> None:
    """Answer requests until the input ends."""
    out, sys.stdout = sys.stdout, sys.stderr  # whatever the libraries print is not an answer
    peer = Peer(Path(sys.argv[1]), int(sys.argv[2]))
    print(json.dumps({"ready": True}), file=out, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        answer = getattr(peer, request.pop("do"))(**request)
        print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()
