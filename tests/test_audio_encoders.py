"""Encoders of sounds without words: one contract, and CLAP on tiny random checkpoints."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from ingest.audio_video.decode import SAMPLE_RATE, resample
from rag import KnowledgeBase
from rag.config import Settings
from rag.encoders import AudioEncoder, load_audio_encoder
from rag.errors import EncoderMismatch, ModelError, SettingsError
from tests.contracts.audio_encoders import AudioEncoderContract, tone
from tests.fakes import checkpoints
from tests.fakes.encoders import HashingTextEncoder
from tests.fakes.media import DOG, RAIN, samples_of

pytestmark = pytest.mark.usefixtures("on_the_cpu")


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
    for path in (DOG, RAIN):
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


def test_a_knowledge_base_without_sounds_refuses_an_audio_encoder(
    folder: Path, clap: AudioEncoder, tmp_path: Path
) -> None:
    with KnowledgeBase.open(tmp_path / "base", Settings(audio_encoder="off")):
        pass
    with pytest.raises(EncoderMismatch, match="EXHIBIT_AUDIO_ENCODER=off"):
        KnowledgeBase.open(tmp_path / "base", Settings(audio_encoder=str(folder / "clap")))
