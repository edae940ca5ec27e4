"""OpenCLIP's own checkpoints, loaded as CLIP of the transformers library: the same weights under other names.

Only the plain vision transformer with CLIP's own text tower has a counterpart there. Towers of timm, ResNets, CoCa,
attention pooling and text towers of a hub are refused; most of them have a port to the transformers library on the hub.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from rag.encoders.torch_models import TorchModel, import_transformers, load_part, map_load_errors
from rag.errors import ModelError, SettingsError
from rag.models import Checkpoint
from rag.models.checkpoints import OPEN_CLIP

_VISION_KEYS = frozenset({"image_size", "layers", "width", "patch_size", "head_width", "mlp_ratio"})
_TEXT_KEYS = frozenset({"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio"})
_MODEL_KEYS = frozenset({"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"})
# Settings with their default value.
_DEFAULTS = {"custom_text": False, "pool_type": "tok", "final_ln_after_pool": False, "attentional_pool": False}
_MEAN, _DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # CLIP's own
_END_TOKEN = 2  # not a token: makes transformers take the state at the highest token, as OpenCLIP does

_DIRECT = {
    "logit_scale": "logit_scale",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
}
# OpenCLIP stores these as (in, out) matrices, transformers as linear layers.
_TRANSPOSED = {"text_projection": "text_projection.weight", "visual.proj": "visual_projection.weight"}
_NORMS = {
    "ln_final": "text_model.final_layer_norm",
    "visual.ln_pre": "vision_model.pre_layrnorm",  # the spelling of the transformers library
    "visual.ln_post": "vision_model.post_layernorm",
}
_IN_A_BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_BLOCK = re.compile(r"(visual\.)?transformer\.resblocks\.(\d+)\.(.+)")


def load(checkpoint: Checkpoint, threads: int) -> tuple[TorchModel, Any, Any]:
    """Load the model, its tokenizer and its image processor.

    Raises:
        SettingsError: it is not a plain CLIP.
        ModelError: a file is missing or damaged.
    """
    transformers = import_transformers(checkpoint.name)
    from safetensors.torch import load_file

    description = checkpoint.json("open_clip_config.json")
    config = clip_config(checkpoint.name, description.get("model_cfg") or {})
    model = transformers.CLIPModel(transformers.CLIPConfig(**config))
    with map_load_errors(checkpoint):
        weights = dict(rename_weights(load_file(checkpoint.folder / OPEN_CLIP)))
        missing, unknown = model.load_state_dict(weights, strict=False)
    if missing or unknown:
        raise ModelError(
            f"`{checkpoint.name}` is not a plain CLIP: {len(missing)} weights are missing, {len(unknown)} are unknown."
        )
    processor = transformers.CLIPImageProcessorPil(
        **processor_config(
            checkpoint.name, config["vision_config"]["image_size"], description.get("preprocess_cfg") or {}
        )
    )
    return TorchModel(model, checkpoint.name, threads), load_part(checkpoint, "AutoTokenizer"), processor


def clip_config(name: str, model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings in the form of the transformers library.

    Raises:
        SettingsError: the model has no counterpart there.
    """
    vision, text = dict(model.get("vision_cfg") or {}), dict(model.get("text_cfg") or {})
    _refuse_others(name, model, _MODEL_KEYS)
    _refuse_others(name, vision, _VISION_KEYS)
    _refuse_others(name, text, _TEXT_KEYS)
    activation = "quick_gelu" if model.get("quick_gelu") else "gelu"
    try:
        return {
            "projection_dim": model["embed_dim"],
            "vision_config": _tower(vision, vision["width"] // vision.get("head_width", 64), activation)
            | {"image_size": vision["image_size"], "patch_size": vision["patch_size"]},
            "text_config": _tower(text, text["heads"], activation)
            | {
                "max_position_embeddings": text.get("context_length", 77),
                "vocab_size": text.get("vocab_size", 49408),
                "eos_token_id": _END_TOKEN,
            },
        }
    except (KeyError, TypeError) as error:
        raise SettingsError(f"`{name}` is not a plain CLIP: its open_clip_config.json lacks {error}.") from error


def processor_config(name: str, size_px: int, prepare: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings for CLIP's image processor.

    Raises:
        SettingsError: images are prepared in another way than CLIP's.
    """
    way = prepare.get("interpolation", "bicubic"), prepare.get("resize_mode", "shortest")
    if way != ("bicubic", "shortest"):
        raise SettingsError(f"`{name}` resizes images by {way[0]} and {way[1]}; only CLIP's own way is supported.")
    return {
        "size": {"shortest_edge": size_px},
        "crop_size": {"height": size_px, "width": size_px},
        "image_mean": list(prepare.get("mean") or _MEAN),
        "image_std": list(prepare.get("std") or _DEVIATION),
    }


def rename_weights(weights: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the weights under the names of the transformers library; unknown ones keep their names."""
    for key, value in weights.items():
        name = key.removeprefix("text.")
        block = _BLOCK.fullmatch(name)
        if block:
            tower = "vision_model" if block.group(1) else "text_model"
            yield from _rename_in_block(f"{tower}.encoder.layers.{block.group(2)}.", block.group(3), value)
        elif name in _TRANSPOSED:
            yield _TRANSPOSED[name], value.T.contiguous()
        elif name in _DIRECT:
            yield _DIRECT[name], value
        elif name != "attn_mask":  # computed from the length of the text
            part, _, kind = name.rpartition(".")
            yield f"{_NORMS.get(part, part)}.{kind}", value


def _rename_in_block(prefix: str, name: str, value: Any) -> Iterator[tuple[str, Any]]:
    joined = re.fullmatch(r"attn\.in_proj_(weight|bias)", name)
    if joined:
        for part, piece in zip(("q_proj", "k_proj", "v_proj"), value.chunk(3), strict=True):
            yield f"{prefix}self_attn.{part}.{joined.group(1)}", piece.clone()
    else:
        part, _, kind = name.rpartition(".")
        yield f"{prefix}{_IN_A_BLOCK.get(part, part)}.{kind}", value


def _tower(settings: Mapping[str, Any], heads: int, activation: str) -> dict[str, Any]:
    return {
        "hidden_size": settings["width"],
        "intermediate_size": int(settings["width"] * settings.get("mlp_ratio", 4.0)),
        "num_hidden_layers": settings["layers"],
        "num_attention_heads": heads,
        "hidden_act": activation,
    }


def _refuse_others(name: str, settings: Mapping[str, Any], known: frozenset[str]) -> None:
    other = sorted(key for key in settings if key not in known and _DEFAULTS.get(key, ...) != settings[key])
    if other or isinstance(settings.get("layers", 1), list):
        raise SettingsError(
            f"`{name}` is an OpenCLIP model with {', '.join(other) or 'the layers of a ResNet'}, which has no "
            "counterpart in the transformers library. Look for a port of it on the hub, with a config.json."
        )
