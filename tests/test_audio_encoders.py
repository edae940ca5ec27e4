"""Encoders of sounds without words: one contract, and CLAP on tiny random checkpoints."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ingest.audio_video.decode import SAMPLE_RATE, resample
from rag import KnowledgeBase
from rag.config import Settings
from rag.encoders import AudioEncoder, ModelCard, load_audio_encoder
from rag.errors import EncoderMismatch, ModelError, QueryError, SettingsError
from tests.fakes import checkpoints
from tests.fakes.encoders import HashingTextEncoder
from tests.fakes.media import JFK, samples_of
from tests.test_encoders import assert_vectors

pytestmark = pytest.mark.usefixtures("on_the_cpu")


def tone(seconds: float, rate: int, hertz: float = 440.0) -> NDArray[np.float32]:
    """A tone that swells, with a little noise."""
    clock = np.arange(int(seconds * rate)) / rate
    noise = np.random.default_rng(int(hertz)).standard_normal(len(clock)) * 0.02
    return (np.sin(2 * np.pi * hertz * clock) * np.minimum(clock, 1) * 0.5 + noise).astype(np.float32)


class AudioEncoderContract:
    """What every encoder of sounds does; subclasses give the fixture `encoder`."""

    def test_card_is_what_json_keeps_of_it(self, encoder: AudioEncoder) -> None:
        assert ModelCard.from_json(encoder.card.to_json()) == encoder.card

    def test_vectors_are_finite_and_of_unit_length(self, encoder: AudioEncoder) -> None:
        rate = encoder.sample_rate
        assert_vectors(encoder.embed_audio([tone(1, rate), tone(2, rate, 90.0)]), 2, encoder.card)
        assert_vectors(encoder.embed_query("a bell")[None], 1, encoder.card)

    def test_sounds_are_vectors_and_tags(self, encoder: AudioEncoder) -> None:
        look = encoder.embed_and_tag([tone(1, encoder.sample_rate)])
        assert_vectors(look.vectors, 1, encoder.card)
        assert [isinstance(tags, tuple) and len(tags) <= 5 for tags in look.tags] == [True]

    def test_no_sounds_give_no_vectors(self, encoder: AudioEncoder) -> None:
        look = encoder.embed_and_tag([])
        assert_vectors(look.vectors, 0, encoder.card)
        assert look.tags == []

    def test_a_vector_depends_on_its_sound_alone(self, encoder: AudioEncoder) -> None:
        sounds = [tone(seconds, encoder.sample_rate, 50.0 + 300 * seconds) for seconds in (0.5, 3, 12)]
        alone = np.concatenate([encoder.embed_audio([sound]) for sound in sounds])
        np.testing.assert_allclose(encoder.embed_audio(sounds), alone, atol=1e-4)

    @pytest.mark.parametrize("seconds", [0.001, 0.1, 9.99, 10.0, 10.01, 25.0])
    def test_any_length_is_heard(self, encoder: AudioEncoder, seconds: float) -> None:
        assert_vectors(encoder.embed_audio([tone(seconds, encoder.sample_rate)]), 1, encoder.card)

    def test_silence_and_clipping_are_heard(self, encoder: AudioEncoder) -> None:
        silence, loud = np.zeros(encoder.sample_rate, np.float32), np.ones(encoder.sample_rate, np.float32)
        assert_vectors(encoder.embed_audio([silence, loud]), 2, encoder.card)

    def test_a_blank_query_is_refused(self, encoder: AudioEncoder) -> None:
        with pytest.raises(QueryError):
            encoder.embed_query("  ")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="module")
def clap(folder: Path) -> AudioEncoder:
    return loaded(checkpoints.clap(folder / "clap"))


@pytest.fixture(scope="module")
def fused(folder: Path) -> AudioEncoder:
    return loaded(checkpoints.clap(folder / "fused", fused=True))


def loaded(path: Path) -> AudioEncoder:
    return load_audio_encoder(str(path), Path("unused"), 1, HashingTextEncoder())


class TestClap(AudioEncoderContract):
    @pytest.fixture
    def encoder(self, clap: AudioEncoder) -> AudioEncoder:
        return clap

    def test_vectors_are_those_of_the_library(self, clap: AudioEncoder, folder: Path) -> None:
        import torch

        library = checkpoints.quiet()
        model = library.ClapModel.from_pretrained(folder / "clap").eval()
        sound = tone(4, 48_000)
        tensors = library.ClapFeatureExtractor(truncation="rand_trunc")(
            sound, sampling_rate=48_000, return_tensors="pt"
        )
        with torch.no_grad():
            heard = model.get_audio_features(**tensors).pooler_output[0].numpy()
        np.testing.assert_allclose(clap.embed_audio([sound])[0], heard / np.linalg.norm(heard), atol=1e-5)

    def test_a_long_recording_is_the_mean_of_its_windows(self, clap: AudioEncoder) -> None:
        sound = tone(25, 48_000)
        parts = clap.embed_audio([sound[:480_000], sound[480_000:960_000], sound[960_000:]])
        mean = parts.mean(axis=0)
        np.testing.assert_allclose(clap.embed_audio([sound])[0], mean / np.linalg.norm(mean), atol=1e-5)

    def test_a_short_rest_is_left_out(self, clap: AudioEncoder) -> None:
        sound = tone(11, 48_000)
        np.testing.assert_allclose(clap.embed_audio([sound]), clap.embed_audio([sound[:480_000]]), atol=1e-6)

    def test_an_empty_sound_is_refused(self, clap: AudioEncoder) -> None:
        with pytest.raises(ModelError, match="2 of 2"):
            clap.embed_audio([tone(1, 48_000), np.zeros(0, np.float32)])

    def test_card(self, clap: AudioEncoder) -> None:
        assert clap.sample_rate == clap.card.preprocessing["sampling_rate"] == 48_000
        assert clap.card.space == f"clap-{clap.card.revision}@{checkpoints.DIMENSIONS}"


class TestFusedClap(AudioEncoderContract):
    @pytest.fixture
    def encoder(self, fused: AudioEncoder) -> AudioEncoder:
        return fused


def test_a_model_that_does_not_hear_is_refused(folder: Path) -> None:
    with pytest.raises(SettingsError, match=r"CLIPModel.*laion/clap-htsat-unfused"):
        loaded(checkpoints.clip(folder / "clip"))


def test_a_knowledge_base_hears_with_it_and_refuses_another(folder: Path, clap: AudioEncoder, tmp_path: Path) -> None:
    media, clap_folder = tmp_path / "media", folder / "clap"
    media.mkdir()
    heard = {}
    for path in (JFK.with_name("dog.ogg"), JFK.with_name("rain.ogg")):
        shutil.copy(path, media)
        (heard[path.name],) = clap.embed_audio([resample(samples_of(path), SAMPLE_RATE, 48_000)])
    with KnowledgeBase.open(tmp_path / "base", Settings(audio_encoder=str(clap_folder))) as base:
        assert base.ingest(media).counts == {"indexed": 2}
        found = {Path(hit.path).name: hit.channels for hit in base.search("the red lamp", where={"kind": "sound"})}
        for name, (channel,) in found.items():
            score = float(clap.embed_query("the red lamp") @ heard[name])
            assert (channel.name, channel.score) == ("sound", pytest.approx(score, abs=1e-3))
        assert set(found) == set(heard)
        first, second = base.search(media / "rain.ogg")
        assert [Path(hit.path).name for hit in (first, second)] == ["rain.ogg", "dog.ogg"]
        assert (first.channels[0].name, first.channels[0].score) == ("like sound", pytest.approx(1.0, abs=1e-3))
        assert second.channels[0].score == pytest.approx(float(heard["dog.ogg"] @ heard["rain.ogg"]), abs=1e-3)
        assert base.status().encoders["sound"] == str(clap_folder)
    copied = shutil.copytree(clap_folder, tmp_path / "copy")
    with KnowledgeBase.open(tmp_path / "base", Settings(audio_encoder=str(copied))) as base:  # the same bytes elsewhere
        assert base.search("the red lamp")
    with pytest.raises(EncoderMismatch, match=rf"`lite`.*521.*EXHIBIT_AUDIO_ENCODER={clap_folder}"):
        KnowledgeBase.open(tmp_path / "base")
    config = json.loads((copied / "preprocessor_config.json").read_text())
    checkpoints.write_json(copied / "preprocessor_config.json", config | {"frequency_max": 12_000})
    with pytest.raises(EncoderMismatch, match=re.escape(str(copied))):
        KnowledgeBase.open(tmp_path / "base", Settings(audio_encoder=str(copied)))


def test_a_knowledge_base_that_heard_nothing_says_so(folder: Path, clap: AudioEncoder, tmp_path: Path) -> None:
    with KnowledgeBase.open(tmp_path / "base", Settings(audio_encoder="off")):
        pass
    with pytest.raises(EncoderMismatch, match="EXHIBIT_AUDIO_ENCODER=off"):
        KnowledgeBase.open(tmp_path / "base", Settings(audio_encoder=str(folder / "clap")))
