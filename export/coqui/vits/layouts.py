"""Parameters of a VITS by Coqui's names, whoever trained it: renamed, never changed.

The original repository's names are those of Piper's trainings and of fairseq's MMS, too; those of
transformers are its `VitsModel`'s. Sources: jaywalnut310/vits `models.py`, transformers 5
`modeling_vits.py`, coqui-tts 0.28 `utils/fairseq.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from voxturn.export.coqui.vits.sizes import DECODER, DURATIONS, TEXT

Rule = tuple[str, str | Callable[[re.Match[str]], str]]


def _halved(found: re.Match[str]) -> str:
    """Of flows with a flip behind each, the number without the flips."""
    return f"flow.flows.{int(found.group(1)) // 2}."


def _spline(found: re.Match[str]) -> str:
    """The same of the duration predictor's, whose first is an affine one without a flip."""
    return f"{DURATIONS}.{found.group(1)}flows.{(int(found.group(2)) + 1) // 2}."


_ORIGINAL: Sequence[Rule] = (
    (r"^model_g\.", ""),
    (r"^model_d\.", "disc."),
    (r"^enc_p\.", f"{TEXT}."),
    (r"^enc_q\.", "posterior_encoder."),
    (r"^dec\.cond\.", f"{DECODER}.cond_layer."),
    (r"^dec\.", f"{DECODER}."),
    (r"^flow\.flows\.(\d+)\.", _halved),
    (r"^dp\.(post_)?flows\.0\.m$", rf"{DURATIONS}.\1flows.0.translation"),
    (r"^dp\.(post_)?flows\.0\.logs$", rf"{DURATIONS}.\1flows.0.log_scale"),
    (r"^dp\.(post_|)flows\.(\d+)\.", _spline),
    (r"^dp\.", f"{DURATIONS}."),
)
_LAYER = r"^text_encoder\.encoder\.layers\.(\d+)\."
_ENCODER = f"{TEXT}.encoder"
_TRANSFORMERS: Sequence[Rule] = (
    (r"^text_encoder\.embed_tokens\.", f"{TEXT}.emb."),
    (r"^text_encoder\.project\.", f"{TEXT}.proj."),
    (_LAYER + r"attention\.([qkv])_proj\.", rf"{_ENCODER}.attn_layers.\1.conv_\2."),
    (_LAYER + r"attention\.out_proj\.", rf"{_ENCODER}.attn_layers.\1.conv_o."),
    (_LAYER + r"attention\.", rf"{_ENCODER}.attn_layers.\1."),
    (_LAYER + r"layer_norm\.", rf"{_ENCODER}.norm_layers_1.\1."),
    (_LAYER + r"final_layer_norm\.", rf"{_ENCODER}.norm_layers_2.\1."),
    (_LAYER + r"feed_forward\.", rf"{_ENCODER}.ffn_layers.\1."),
    (r"^embed_speaker\.", "emb_g."),
    (r"^decoder\.upsampler\.", f"{DECODER}.ups."),
    (r"^decoder\.cond\.", f"{DECODER}.cond_layer."),
    (r"^decoder\.", f"{DECODER}."),
    (r"(?<!decoder)\.conv_pre\.", ".pre."),
    (r"(?<!decoder)\.conv_post\.", ".post."),
    (r"\.conv_proj\.", ".proj."),
    (r"\.conv_dds\.", ".convs."),
    (r"\.wavenet\.", ".enc."),
    (r"\.translate$", ".translation"),
    (r"\.convs_dilated\.", ".convs_sep."),
    (r"\.convs_pointwise\.", ".convs_1x1."),
    (r"(norm\w*(?:\.\d+)?)\.weight$", r"\1.gamma"),
    (r"(norm\w*(?:\.\d+)?)\.bias$", r"\1.beta"),
)


def is_original(names: Mapping[str, Any]) -> bool:
    """Whether these are the original repository's names."""
    return any(re.match(r"(model_g\.)?enc_p\.", name) for name in names)


def is_transformers(names: Mapping[str, Any]) -> bool:
    """Whether these are the names of transformers' `VitsModel`."""
    return "text_encoder.embed_tokens.weight" in names


def coqui_names(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """The same tensors by Coqui's names; matrices of attention as convolutions of kernel 1."""
    if is_original(tensors):
        return {_renamed(name, _ORIGINAL): tensor for name, tensor in tensors.items()}
    if not is_transformers(tensors):
        return dict(tensors)
    renamed = {_renamed(name, _TRANSFORMERS): tensor for name, tensor in tensors.items()}
    return {
        name: tensor[..., None] if _is_matrix(name, tensor) else tensor
        for name, tensor in renamed.items()
    }


def _renamed(name: str, rules: Sequence[Rule]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def _is_matrix(name: str, tensor: Any) -> bool:
    return bool(re.search(r"\.conv_[qkvo]\.weight$", name)) and len(tensor.shape) == 2
