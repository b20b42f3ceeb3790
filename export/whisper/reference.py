"""The reference: transformers' own Whisper with a checkpoint's weights, for parity and for
CTranslate2's converter."""

from __future__ import annotations

import warnings
from dataclasses import asdict
from typing import Any

import numpy as np
from voxturn.export.checkpoint import Float
from voxturn.export.imports import import_transformers
from voxturn.export.whisper.checkpoint import WhisperCheckpoint, is_ctranslate2
from voxturn.export.whisper.spec import CONFIG_KEYS, EMBEDDING


def load_model(opened: WhisperCheckpoint) -> Any:
    """`WhisperForConditionalGeneration`, float32: loaded by transformers itself, or with the
    weights of CTranslate2."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformers = import_transformers()
        if not is_ctranslate2(opened.folder):
            kind = transformers.WhisperForConditionalGeneration
            return kind.from_pretrained(
                opened.folder, dtype=torch.float32, local_files_only=True
            ).eval()
        marks = opened.marks
        config = transformers.WhisperConfig(
            **{CONFIG_KEYS[field]: value for field, value in asdict(opened.sizes).items()},
            decoder_start_token_id=marks.start,
            **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), marks.end),
        )
        model = transformers.WhisperForConditionalGeneration(config)
        state = {name: torch.from_numpy(opened.array(name)) for name in opened.tensors.shapes()}
        model.load_state_dict(state | {"proj_out.weight": state[EMBEDDING]})
        return model.eval()


class Original:
    """The model, its encoder as short as the features that it is given.

    With `exact` it computes in float64: the rounding of float32 differs by processor, and counts as
    the artifact's else.
    """

    def __init__(self, opened: WhisperCheckpoint, exact: bool = False) -> None:
        import torch

        self._torch = torch
        self.model = load_model(opened)
        self._marks = opened.marks
        if exact:
            self.model.double()
        self._encoder = self.model.model.encoder
        self._positions = self._encoder.embed_positions.weight.detach().clone()

    def states(self, mel: Float) -> Any:
        """The encoder's output `[1, frames / 2, width]`, a torch tensor, for `mel` `[mels,
        frames]`."""
        torch = self._torch
        positions = mel.shape[1] // 2
        self._encoder.config.max_source_positions = positions
        self._encoder.embed_positions = torch.nn.Embedding.from_pretrained(
            self._positions[:positions]
        )
        with torch.no_grad():
            return self._encoder(torch.from_numpy(mel[None]).to(self.model.dtype)).last_hidden_state

    def cross(self, states: Any) -> dict[str, Float]:
        """The keys and values of every layer's cross-attention `[1, heads, T, head_dim]`, under the
        graph's names."""
        out = {}
        with self._torch.no_grad():
            for i, layer in enumerate(self.model.model.decoder.layers):
                attention = layer.encoder_attn
                for kind, linear in (("key", attention.k_proj), ("value", attention.v_proj)):
                    heads = linear(states).view(1, -1, attention.num_heads, attention.head_dim)
                    out[f"cross_{kind}.{i}"] = heads.transpose(1, 2).float().numpy()
        return out

    def logits(self, states: Any, ids: list[int]) -> Float:
        """The logits `[len(ids), vocabulary]` that follow each of `ids`."""
        with self._torch.no_grad():
            out = self.model(
                encoder_outputs=(states,),
                decoder_input_ids=self._torch.tensor([ids]),
                use_cache=False,
            )
        return np.asarray(out.logits[0].float().numpy())

    def greedy(self, states: Any, prompt: list[int], steps: int) -> list[int]:
        """`steps` greedy tokens; some ids are never said, nor is the end."""
        ids: list[int] = []
        new, past = prompt, None
        with self._torch.no_grad():
            while len(ids) < steps:
                out = self.model(
                    encoder_outputs=(states,),
                    decoder_input_ids=self._torch.tensor([new]),
                    past_key_values=past,
                )
                last, past = out.logits[0, -1], out.past_key_values
                last[[*self._marks.suppress, self._marks.end]] = -float("inf")
                new = [int(last.argmax())]
                ids += new
        return ids
