"""Measure how well words and other sounds find the sounds of ESC-10: ``python -m tests.measure.sounds --data DATA``.

The power and the root in `rag.encoders.yamnet` were chosen on folds 1 and 2; folds 3 to 5 took no part in any choice.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rag.config import Settings
from rag.encoders import AudioEncoder, load_audio_encoder, load_text_encoder
from tests.fakes.media import samples_of

QUESTIONS = {
    "Dog bark": ("dog bark", "a dog barking", "barking dog in the yard", "which recording has a dog?"),
    "Rain": ("rain", "rain falling on a roof", "a rainstorm, heavy rainfall", "it is raining"),
    "Sea waves": ("sea waves", "waves breaking on the beach", "the sound of the ocean", "surf at the shore"),
    "Baby cry": ("baby cry", "a crying baby", "an infant wailing", "a newborn in tears"),
    "Clock tick": ("clock tick", "a ticking clock", "the tick-tock of a watch", "a wall clock in a quiet room"),
    "Person sneeze": ("person sneeze", "someone sneezing", "a man sneezes loudly", "achoo, a sneeze"),
    "Helicopter": ("helicopter", "a helicopter flying overhead", "chopper rotor blades", "an aircraft hovering"),
    "Chainsaw": ("chainsaw", "cutting a tree with a chain saw", "a power saw in the forest", "logging, felling trees"),
    "Rooster": ("rooster", "a cock crowing at dawn", "cock-a-doodle-doo", "a rooster crowing on a farm"),
    "Fire crackling": ("fire crackling", "a crackling campfire", "logs burning in the fireplace", "flames of a fire"),
}


def scores(similar: NDArray[np.float32], right: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Return how often the first, and one of the first five, is right, and the mean average precision, over rows."""
    ranked = np.take_along_axis(right, np.argsort(-similar, axis=1, kind="stable"), axis=1)
    precisions = [np.mean((np.arange(row.sum()) + 1) / (np.flatnonzero(row) + 1)) for row in ranked]
    return float(ranked[:, 0].mean()), float(ranked[:, :5].any(axis=1).mean()), float(np.mean(precisions))


def measure(encoder: AudioEncoder, folder: Path, folds: str) -> dict[str, tuple[float, float, float]]:
    """Return the scores of queries in words, of sounds as queries, and of chance, on the sounds of some folds."""
    paths = sorted(path for path in folder.glob("*/*.ogg") if path.name[0] in folds)
    classes = np.array([path.parent.name.partition(" - ")[2] for path in paths])
    sounds = encoder.embed_audio([samples_of(path) for path in paths])
    queries = [(name, words) for name, each in QUESTIONS.items() for words in each]
    questions = np.stack([encoder.embed_query(words) for _, words in queries])
    wanted = np.array([name for name, _ in queries])[:, None] == classes
    others = ~np.eye(len(paths), dtype=bool)

    def without_itself(matrix: NDArray[np.generic]) -> NDArray[np.generic]:
        return matrix[others].reshape(len(paths), len(paths) - 1)

    chance = np.random.default_rng(0).random((100 * len(wanted), len(paths)))
    return {
        "by words": scores(questions @ sounds.T, wanted),
        "by sounds": scores(without_itself(sounds @ sounds.T), without_itself(classes[:, None] == classes)),
        "by chance": scores(chance, np.tile(wanted, (100, 1))),
    }


def main() -> None:
    """Print the scores for the folds on which choices were made, and for the others."""
    parser = argparse.ArgumentParser(description="Measure the retrieval of sounds.")
    parser.add_argument("--data", type=Path, required=True)
    folder, settings = parser.parse_args().data / "esc10", Settings()
    text = load_text_encoder(settings.text_encoder, settings.home, settings.threads)
    encoder = load_audio_encoder(settings.audio_encoder, settings.home, settings.threads, text)
    if encoder is None:
        raise SystemExit("EXHIBIT_AUDIO_ENCODER is off.")
    for folds in ("12", "345"):
        for name, found in measure(encoder, folder, folds).items():
            print(f"folds {folds}, {name}: " + ", ".join(f"{value:.3f}" for value in found))


if __name__ == "__main__":
    main()
