"""Log-mel patches of sounds, as YAMNet was trained on them, in NumPy alone.

As in ``tensorflow/models/research/audioset/yamnet``: magnitudes of 25 ms under a periodic Hann window every 10 ms, 64
triangular bands from 125 to 7,500 Hz on the mel scale, log(x + 0.001), patches of 0.96 s every 0.48 s.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
PATCH = (96, 64)  # times, bands
HOP_S = 0.48
_WINDOW, _HOP, _FFT = 400, 160, 512
_PATCH_HOP = 48
_LOW_HZ, _HIGH_HZ = 125.0, 7500.0
_OFFSET = 0.001
# Samples of the first patch, and samples that each further patch adds.
_FIRST, _FURTHER = (PATCH[0] - 1) * _HOP + _WINDOW, _PATCH_HOP * _HOP


def make_patches(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return log-mel patches (n, 1, 96, 64) of samples (any number,), n at least 1; silence pads the end."""
    further = max(-(-(len(samples) - _FIRST) // _FURTHER), 0)
    padded = np.zeros(_FIRST + further * _FURTHER, np.float32)
    padded[: len(samples)] = samples
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    magnitudes = np.abs(np.fft.rfft(frames * _hann(), _FFT)).astype(np.float32)
    mel = np.log(magnitudes @ _bands() + np.float32(_OFFSET))
    starts = range(0, (further + 1) * _PATCH_HOP, _PATCH_HOP)
    return np.stack([mel[start : start + PATCH[0]] for start in starts])[:, None]


@cache
def _hann() -> NDArray[np.float32]:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)).astype(np.float32)


@cache
def _bands() -> NDArray[np.float32]:
    """Return the weights (257, 64) of frequencies in bands; the constant part of a sound has weight 0."""
    low, high = _mel(np.array([_LOW_HZ, _HIGH_HZ]))
    edges = np.linspace(float(low), float(high), PATCH[1] + 2)
    bins = _mel(np.linspace(0, SAMPLE_RATE / 2, _FFT // 2 + 1))[1:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.pad(np.maximum(0, np.minimum(rising, falling)), ((1, 0), (0, 0))).astype(np.float32)


def _mel(hertz: NDArray[np.floating]) -> NDArray[np.floating]:
    return 1127 * np.log1p(hertz / 700)
