"""Tiny checkpoints with random weights in the layout of the hub: real models whose vectors mean nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SIZE_PX = 32
DIMENSIONS = 24
_WORDS = ["of", "the", "red", "blue", "green", "teal", "picture", "harbour", "lamp", "bicycle", "bakery"]
# CLIP takes the state at the token with the highest id, so the end token is the last.
_PIECES = ["<unk>", "<pad>", *_WORDS, *(chr(code) for code in range(33, 127)), "<s>", "</s>"]
_START, _END = len(_PIECES) - 2, len(_PIECES) - 1
_TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
_IDS = {"vocab_size": len(_PIECES), "bos_token_id": _START, "eos_token_id": _END, "pad_token_id": 1}
_EYE = {"image_size": SIZE_PX, "patch_size": 8}


def quiet() -> Any:
    """Return the transformers library, without progress bars and with a fixed seed."""
    import torch
    import transformers

    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    torch.manual_seed(7)
    return transformers


def tokenizer(max_tokens: int) -> Any:
    """Make a tokenizer of a few words and single characters, with a start and an end token."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    numbers = {piece: number for number, piece in enumerate(_PIECES)}
    words = Tokenizer(models.WordLevel(numbers, unk_token="<unk>"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Split(Regex(r"\s+"), "removed")
    words.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", _START), ("</s>", _END)]
    )
    special = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    return quiet().PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=max_tokens, **special)


def clip(folder: Path) -> Path:
    """Write a CLIP: short side scaled, centre cropped, CLIP's own mean and deviation."""
    library = quiet()
    text = {**_TOWER, **_IDS, "max_position_embeddings": 77}
    config = library.CLIPConfig(text_config=text, vision_config=_TOWER | _EYE, projection_dim=DIMENSIONS)
    library.CLIPModel(_with_large_weights(config)).save_pretrained(folder)
    side = {"height": SIZE_PX, "width": SIZE_PX}
    _save(library.CLIPImageProcessorPil(size={"shortest_edge": SIZE_PX}, crop_size=side), folder)
    _save(tokenizer(77), folder)
    return folder


def siglip(folder: Path) -> Path:
    """Write a SigLIP, or SigLIP 2 of fixed size: squashed to a square, mean and deviation of a half, 64 tokens."""
    library = quiet()
    text = {**_TOWER, **_IDS, "max_position_embeddings": 64, "projection_size": _TOWER["hidden_size"]}
    config = library.SiglipConfig(text_config=text, vision_config=_TOWER | _EYE)
    library.SiglipModel(_with_large_weights(config)).save_pretrained(folder)
    _save(library.SiglipImageProcessorPil(size={"height": SIZE_PX, "width": SIZE_PX}), folder)
    _save(tokenizer(64), folder)
    return folder


def siglip2(folder: Path) -> Path:
    """Write a SigLIP 2 for any aspect ratio: at most 16 patches, with as many per side as the image's shape allows."""
    library = quiet()
    text = {**_TOWER, **_IDS, "max_position_embeddings": 64, "projection_size": _TOWER["hidden_size"]}
    config = library.Siglip2Config(text_config=text, vision_config={**_TOWER, "patch_size": 8, "num_patches": 16})
    library.Siglip2Model(_with_large_weights(config)).save_pretrained(folder)
    _save(library.Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16), folder)
    _save(tokenizer(64), folder)
    return folder


def bert(folder: Path, *, pooling: str | None = "mean", prompts: dict[str, str] | None = None) -> Path:
    """Write a text encoder, with the pooling and prompts in the files of sentence-transformers."""
    library = quiet()
    config = library.BertConfig(**_TOWER, **_IDS, max_position_embeddings=128)
    library.BertModel(_with_large_weights(config)).save_pretrained(folder)
    _save(tokenizer(128), folder)
    if pooling:
        kind = "sentence_transformers.models."
        modules = [{"path": "", "type": f"{kind}Transformer"}, {"path": "1_Pooling", "type": f"{kind}Pooling"}]
        write_json(folder / "modules.json", modules)
        names = {"mean": "mean_tokens", "cls": "cls_token"}
        modes = {
            f"pooling_mode_{names.get(way, way)}": way == pooling for way in ("cls", "mean", "lasttoken", "max_tokens")
        }
        write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 32, **modes})
    if prompts:
        write_json(folder / "config_sentence_transformers.json", {"prompts": prompts})
    return folder


def clap(folder: Path, *, fused: bool = False) -> Path:
    """Write a CLAP: ten seconds at 48 kHz as a spectrogram."""
    library = quiet()
    ears = {
        "window_size": 8, "num_mel_bins": 64, "spec_size": 256, "patch_size": 4, "patch_stride": [4, 4],
        "patch_embeds_hidden_size": 16, "depths": [1, 1], "num_attention_heads": [2, 2], "hidden_size": 32,
        "enable_fusion": fused, "num_classes": 4,
    }  # fmt: skip
    text = {**_TOWER, **_IDS, "max_position_embeddings": 68}
    config = library.ClapConfig(text_config=text, audio_config=ears, projection_dim=DIMENSIONS)
    library.ClapModel(_with_large_weights(config)).save_pretrained(folder)
    _save(library.ClapFeatureExtractor(truncation="fusion" if fused else "rand_trunc"), folder)
    _save(tokenizer(64), folder)
    return folder


def open_clip(folder: Path, twin: Path) -> Path:
    """Write a CLIP checkpoint's weights as OpenCLIP saves them, under the names of `open_clip.model.CLIP`."""
    import torch
    from safetensors.torch import load_file, save_file

    theirs = load_file(twin / "model.safetensors")
    ours = {
        "logit_scale": theirs["logit_scale"],
        "positional_embedding": theirs["text_model.embeddings.position_embedding.weight"],
        "token_embedding.weight": theirs["text_model.embeddings.token_embedding.weight"],
        "text_projection": theirs["text_projection.weight"].T,
        "visual.proj": theirs["visual_projection.weight"].T,
        "visual.class_embedding": theirs["vision_model.embeddings.class_embedding"],
        "visual.positional_embedding": theirs["vision_model.embeddings.position_embedding.weight"],
        "visual.conv1.weight": theirs["vision_model.embeddings.patch_embedding.weight"],
    }
    for here, there in (
        ("ln_final", "text_model.final_layer_norm"),
        ("visual.ln_pre", "vision_model.pre_layrnorm"),
        ("visual.ln_post", "vision_model.post_layernorm"),
    ):
        ours |= {f"{here}.{kind}": theirs[f"{there}.{kind}"] for kind in ("weight", "bias")}
    for prefix, tower in (("", "text_model"), ("visual.", "vision_model")):
        for layer in range(_TOWER["num_hidden_layers"]):
            here, there = f"{prefix}transformer.resblocks.{layer}", f"{tower}.encoder.layers.{layer}"
            for kind in ("weight", "bias"):
                joined = [theirs[f"{there}.self_attn.{part}_proj.{kind}"] for part in "qkv"]
                ours[f"{here}.attn.in_proj_{kind}"] = torch.cat(joined)
                ours[f"{here}.attn.out_proj.{kind}"] = theirs[f"{there}.self_attn.out_proj.{kind}"]
                ours[f"{here}.ln_1.{kind}"] = theirs[f"{there}.layer_norm1.{kind}"]
                ours[f"{here}.ln_2.{kind}"] = theirs[f"{there}.layer_norm2.{kind}"]
                ours[f"{here}.mlp.c_fc.{kind}"] = theirs[f"{there}.mlp.fc1.{kind}"]
                ours[f"{here}.mlp.c_proj.{kind}"] = theirs[f"{there}.mlp.fc2.{kind}"]
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: weight.contiguous() for name, weight in ours.items()}, folder / "open_clip_model.safetensors")
    write_json(folder / "open_clip_config.json", {"model_cfg": open_clip_config(), "preprocess_cfg": {}})
    _save(tokenizer(77), folder)
    return folder


def open_clip_config() -> dict[str, Any]:
    """Return the `model_cfg` of that checkpoint."""
    width, layers = _TOWER["hidden_size"], _TOWER["num_hidden_layers"]
    vision = {
        "image_size": SIZE_PX,
        "layers": layers,
        "width": width,
        "head_width": 16,
        "patch_size": 8,
        "mlp_ratio": 2.0,
    }
    text = {
        "context_length": 77,
        "vocab_size": _IDS["vocab_size"],
        "width": width,
        "heads": 2,
        "layers": layers,
        "mlp_ratio": 2.0,
    }
    return {"embed_dim": DIMENSIONS, "vision_cfg": vision, "text_cfg": text, "quick_gelu": True}


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def _with_large_weights(config: Any) -> Any:
    """Return the configuration with weights large enough for inputs to matter; the usual ones suit training."""
    for part in (config, getattr(config, "text_config", None), getattr(config, "vision_config", None)):
        if part is not None:
            part.initializer_factor = 1.0
            part.initializer_range = 0.3
    return config


def _save(part: Any, folder: Path) -> None:
    """Save a tokenizer or processor; the library leaves their files open for the garbage collector."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        part.save_pretrained(folder)
