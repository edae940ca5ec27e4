"""Sounds without words: their encoders, which stretches of a recording are heard, and finding them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ingest.audio_video.decode import SAMPLE_RATE, AudioPiece, resample
from ingest.audio_video.sounds import MAX_WINDOWS, SoundMonitor
from ingest.vectors import merge_sounds
from rag import KnowledgeBase
from rag.config import Settings
from rag.encoders import AudioEncoder, load_audio_encoder, load_text_encoder
from rag.encoders.base import normalize
from rag.encoders.mel import make_patches
from rag.encoders.yamnet import DATA, LiteSounds, class_vectors, classes
from rag.errors import ModelError, QueryError, SettingsError
from rag.index import IndexedSegment
from rag.models import ensure
from rag.types import Hit, Segment, TimeSpan
from tests.contracts.audio_encoders import AudioEncoderContract
from tests.fakes.encoders import HashingTextEncoder, PitchEncoder
from tests.fakes.media import DOG, JFK, RAIN, noise, samples_of, silence, texture, tone, write_audio, write_video
from tests.fakes.shared_data import SHARED_DATA


@pytest.fixture(scope="module")
def lite(home: Path) -> AudioEncoder:
    encoder = load_audio_encoder("lite", home, 1, load_text_encoder("minilm", home, 1))
    assert encoder is not None
    return encoder


class TestPitch(AudioEncoderContract):
    @pytest.fixture
    def encoder(self) -> AudioEncoder:
        return PitchEncoder()


class TestLite(AudioEncoderContract):
    @pytest.fixture
    def encoder(self, lite: AudioEncoder) -> AudioEncoder:
        return lite

    @pytest.mark.parametrize(
        ("sound", "name"),
        [(silence(3), "Silence"), (tone(3, level=1.0), "Sine wave"), (noise(3, level=0.6), "White noise")],
        ids=["silence", "sine", "noise"],
    )
    def test_it_recognises_the_sounds_of_its_makers_tests(self, lite: LiteSounds, sound: NDArray, name: str) -> None:
        # tensorflow/models/research/audioset/yamnet/yamnet_test.py: each is among the ten likeliest classes.
        (logits,) = lite._model.run(["logits"], {"patches": make_patches(sound)})
        assert name in {classes()[i] for i in np.argsort(-logits.mean(axis=0))[:10]}

    def test_canonical_values(self, lite: AudioEncoder) -> None:
        # Its own, from the day it was made, for Animal, Domestic animals, Dog, Bark and Yip: no other one exists.
        found = lite.embed_audio([samples_of(DOG)])[0, 67:72]
        np.testing.assert_allclose(found, [0.4745, 0.4561, 0.4427, 0.4087, 0.1597], atol=5e-3)

    def test_tags_name_the_sounds(self, lite: AudioEncoder) -> None:
        dog, rain, nothing = lite.embed_and_tag([samples_of(DOG), samples_of(RAIN), silence(5)]).tags
        assert {"animal", "dog", "bark"} <= set(dog)
        assert {"water", "rain"} <= set(rain)
        assert nothing == ()

    def test_words_find_sounds_and_other_words_find_none(self, lite: AudioEncoder) -> None:
        sounds = lite.embed_audio([samples_of(DOG), samples_of(RAIN)])
        assert sounds @ lite.embed_query("a puppy is barking") == pytest.approx([0.4, 0.0], abs=0.2)
        assert sounds @ lite.embed_query("a heavy shower on the roof") == pytest.approx([0.0, 0.3], abs=0.2)
        assert max(sounds @ lite.embed_query("interest rates and the price of bonds")) < 0.1

    def test_shipped_class_vectors_are_those_of_the_text_encoder(self, home: Path) -> None:
        assert len(classes()) == len(set(classes())) == 521
        shipped = np.load(DATA / "audioset_classes.npy").astype(np.float32)
        np.testing.assert_allclose(shipped, class_vectors(load_text_encoder("minilm", home, 1)), atol=2e-2)

    def test_any_text_encoder_will_do(self, home: Path) -> None:
        encoder = LiteSounds(ensure("yamnet", home), HashingTextEncoder())
        assert encoder.embed_audio([samples_of(RAIN)])[0] @ encoder.embed_query("rain") > 0.1

    def test_a_missing_model_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match=r"yamnet\.onnx"):
            LiteSounds(tmp_path, HashingTextEncoder())

    @pytest.mark.skipif(not (SHARED_DATA / "esc10").is_dir(), reason="needs ESC-10 in EXHIBIT_DATA")
    def test_class_names_find_their_sounds(self, lite: AudioEncoder) -> None:
        paths = sorted((SHARED_DATA / "esc10").glob("*/*.ogg"))
        named = [path.parent.name.partition(" - ")[2] for path in paths]
        vectors = lite.embed_audio([samples_of(path) for path in paths])
        found = {name: np.argsort(-vectors @ lite.embed_query(name.lower()))[:10] for name in set(named)}
        right = [named[n] == name for name, best in found.items() for n in best]
        assert np.mean(right) > 0.75  # of the first ten of a hundred, ten of which are right; chance is 0.1


class TestPatches:
    @pytest.mark.parametrize(("seconds", "count"), [(0, 1), (0.975, 1), (0.976, 2), (1.455, 2), (10, 20)])
    def test_all_of_a_sound_is_in_them(self, seconds: float, count: int) -> None:
        assert make_patches(silence(seconds)).shape == (count, 1, 96, 64)

    def test_a_tone_is_in_its_band(self) -> None:
        # 1,000 Hz is 1,000 mel: of 64 bands 40 mel apart from 225 mel on, number 19 is nearest.
        assert set(make_patches(tone(2, 1000))[0, 0].argmax(axis=1)) == {19}
        np.testing.assert_allclose(make_patches(silence(1)), np.log(0.001), atol=1e-4)


def record(samples: NDArray[np.float32], **options: bool) -> SoundMonitor:
    """A recording that has been passed through in pieces of 10 s which do not lie on the grid."""
    cuts = range(7 * SAMPLE_RATE, len(samples), 10 * SAMPLE_RATE)
    starts = [0, *cuts]
    pieces = [
        AudioPiece(start / SAMPLE_RATE, part) for start, part in zip(starts, np.split(samples, list(cuts)), strict=True)
    ]
    listener = SoundMonitor(pieces, **options)
    assert sum(len(piece.samples) for piece in listener) == len(samples)
    return listener


def spans(listener: SoundMonitor, *spoken: tuple[float, float]) -> list[tuple[float, float]]:
    return [(round(s.start_s, 2), round(s.end_s, 2)) for s in listener.unspoken_stretches(spoken)]


class TestStretches:
    def test_a_short_recording_without_words_is_one_stretch(self) -> None:
        assert spans(record(tone(0.3))) == [(0.0, 0.3)]
        (stretch,) = record(tone(6.5)).unspoken_stretches([])
        assert len(stretch.samples) == 6.5 * SAMPLE_RATE

    def test_a_longer_one_is_cut_and_its_short_end_is_not_lost(self) -> None:
        assert spans(record(tone(20.5))) == [(0.0, 10.0), (10.0, 20.5)]

    def test_silence_is_not_a_sound(self) -> None:
        assert spans(record(silence(25))) == []
        assert spans(record(np.concatenate([silence(10), tone(10), silence(5)]))) == [(10.0, 20.0)]

    def test_sounds_between_words_count_and_words_do_not(self) -> None:
        both = record(noise(20))
        assert spans(both, (0.5, 4.0), (5.5, 6.0), (12.0, 20.0)) == [(6.25, 10.0), (10.0, 11.75)]
        assert spans(both, *((n, n + 0.9) for n in range(20))) == []
        assert spans(both, (2.5, 20.0)) == [(0.0, 2.25)]

    def test_background_noise_between_words_does_not_count(self) -> None:
        talk = np.concatenate([noise(5, 0.3), noise(5, 0.003), noise(5, 0.3)])
        assert spans(record(talk), (0, 5), (10, 15)) == []

    def test_of_a_long_recording_a_bounded_part_stands_for_all(self) -> None:
        length_s = 1500
        unspoken_stretches = record(np.tile(tone(10), length_s // 10)).unspoken_stretches([])
        assert len(unspoken_stretches) <= MAX_WINDOWS
        assert max(len(stretch.samples) for stretch in unspoken_stretches) <= 10 * SAMPLE_RATE
        edges = [stretch.start_s for stretch in unspoken_stretches]
        assert edges == pytest.approx([stretch.end_s - 40 for stretch in unspoken_stretches[:-1]] + [1480], abs=1)

    def test_no_windows_are_stored_without_a_sound_encoder(self) -> None:
        listener = record(tone(5), keeps_windows=False)
        assert (spans(listener), listener.end_s, listener.is_silent) == ([], 5.0, False)


def a_sound(ordinal: int, start_s: float, *tags: str, vector: tuple[float, float] = (1, 0)) -> IndexedSegment:
    span = TimeSpan(start_s, start_s + 10)
    meta = {"start_s": span.start_s, "end_s": span.end_s}
    segment = Segment("a", ordinal, "audio", "sound", span, tags=tags, meta=meta)
    return IndexedSegment(segment, sound=normalize(np.array([vector]))[0])


class TestMerged:
    def test_neighbours_with_the_same_likeliest_tag_are_one_sound(self) -> None:
        items = [
            a_sound(0, 0, "rain", "water"),
            a_sound(1, 10, "rain", "wind", vector=(0, 1)),
            a_sound(2, 20, "dog"),
            a_sound(3, 40, "dog"),
        ]
        first, second, third = merge_sounds(items)
        assert (first.segment.locator, first.segment.tags) == (TimeSpan(0, 20), ("rain",))
        assert first.segment.meta["end_s"] == 20
        np.testing.assert_allclose(first.sound, [0.7071, 0.7071], atol=1e-4)
        assert [item.segment.locator.start_s for item in (second, third)] == [20, 40]  # type: ignore[union-attr]
        assert [item.segment.ordinal for item in (first, second, third)] == [0, 1, 2]

    def test_sounds_without_tags_stay_apart_and_a_minute_is_the_limit(self) -> None:
        assert len(merge_sounds([a_sound(0, 0), a_sound(1, 10)])) == 2
        assert [item.segment.locator for item in merge_sounds([a_sound(n, 10 * n, "rain") for n in range(8)])] == [
            TimeSpan(0, 60),
            TimeSpan(60, 80),
        ]

    def test_other_segments_stay_as_they_are(self) -> None:
        words = [IndexedSegment(Segment("a", n, "audio", "speech", TimeSpan(n, n + 1), text="x")) for n in (0, 4)]
        assert merge_sounds(words) == words


def test_another_rate_keeps_pitch_and_length() -> None:
    found = resample(tone(1, 440), SAMPLE_RATE, 48_000)
    assert len(found) == pytest.approx(48_000, abs=200)
    assert int(np.argmax(np.abs(np.fft.rfft(found)))) * 48_000 / len(found) == pytest.approx(440, abs=3)
    assert resample(found, 48_000, 48_000) is found


def test_the_sound_encoder_can_be_off(tmp_path: Path) -> None:
    assert load_audio_encoder("off", tmp_path, 1, HashingTextEncoder()) is None
    with pytest.raises(SettingsError, match="lite, off"):
        load_audio_encoder("ears", tmp_path, 1, HashingTextEncoder())


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    (folder / "first.ogg").write_bytes(DOG.read_bytes())
    (folder / "speech.ogg").write_bytes(JFK.read_bytes())
    write_audio(folder / "silent.wav", silence(4))
    write_video(folder / "film.mp4", [texture(n // 25) for n in range(50)], sound=samples_of(RAIN))
    spoken = np.concatenate([samples_of(JFK), 0.5 * samples_of(RAIN)])
    write_audio(folder / "both.wav", spoken)
    return folder


@pytest.fixture(scope="module")
def base(media: Path) -> Iterator[KnowledgeBase]:
    with KnowledgeBase.open(media.with_name(f"{media.name}-base"), Settings(ocr="off")) as opened:
        report = opened.ingest(media)
        assert report.counts == {"indexed": 5}, report
        yield opened


def best(hits: list[Hit]) -> tuple[str, str, tuple[str, ...]]:
    return Path(hits[0].path).name, hits[0].segment.kind, tuple(channel.name for channel in hits[0].channels)


@pytest.mark.language_model
class TestFinding:
    def test_words_find_a_recording_without_words(self, base: KnowledgeBase) -> None:
        hits = base.search("a dog barking")
        assert best(hits) == ("first.ogg", "sound", ("sound",))
        assert {"dog", "bark"} <= set(hits[0].segment.tags)

    def test_words_find_sounds_of_a_video(self, base: KnowledgeBase) -> None:
        hits = base.search("the sound of rain", modality="video")
        assert best(hits) == ("film.mp4", "sound", ("sound",))
        assert hits[0].segment.locator.start_s == pytest.approx(0, abs=0.1)  # type: ignore[union-attr]

    def test_a_sound_after_the_speech_has_its_own_seconds(self, base: KnowledgeBase) -> None:
        found = {Path(hit.path).name: hit.segment for hit in base.search("rainfall", where={"kind": "sound"})}
        assert found["both.wav"].locator.start_s == pytest.approx(11, abs=0.7)  # type: ignore[union-attr]

    def test_speech_is_still_found_by_its_words(self, base: KnowledgeBase) -> None:
        hits = base.search("what can you do for your country?", top_k=2)
        assert {(Path(hit.path).name, hit.segment.kind) for hit in hits} == {
            ("speech.ogg", "speech"),
            ("both.wav", "speech"),
        }

    def test_no_sound_query_finds_silence(self, base: KnowledgeBase) -> None:
        hits = base.search("silence", top_k=20)
        assert "silent.wav" not in {Path(hit.path).name for hit in hits}

    def test_a_recording_without_words_is_a_question(self, base: KnowledgeBase, tmp_path: Path) -> None:
        again = write_audio(tmp_path / "again.wav", 0.4 * samples_of(DOG)[SAMPLE_RATE // 5 :])
        assert best(base.search(again)) == ("first.ogg", "sound", ("like sound",))

    def test_silence_is_not_a_question(self, base: KnowledgeBase, media: Path) -> None:
        with pytest.raises(QueryError, match=r"silent\.wav"):
            base.search(media / "silent.wav")

    def test_a_sound_is_evidence(self, base: KnowledgeBase) -> None:
        answer = base.ask("Which recording has a dog barking?")
        assert not answer.declined
        assert [Path(evidence.hit.path).name for evidence in answer.cited] == ["first.ogg"]
        assert "data:audio/" in answer.render()
