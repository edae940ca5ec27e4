"""Where models of torch run, and half precision on a GPU where there is one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rag.encoders import load_audio_encoder, load_dual_encoder, load_text_encoder
from rag.encoders.base import Vectors
from rag.encoders.torch_models import choose_device
from tests.contracts.audio_encoders import tone
from tests.contracts.encoders import PASSAGES, drawn
from tests.fakes import checkpoints
from tests.fakes.encoders import HashingTextEncoder


@pytest.mark.parametrize(
    ("has_cuda", "has_mps", "expected"),
    [
        (True, False, ("cuda", "float16")),
        (True, True, ("cuda", "float16")),
        (False, True, ("mps", "float32")),
        (False, False, ("cpu", "float32")),
    ],
)
def test_numbers_are_halved_on_cuda_alone(has_cuda: bool, has_mps: bool, expected: tuple[str, str]) -> None:
    assert choose_device(has_cuda=has_cuda, has_mps=has_mps) == expected


def clip(folder: Path) -> Vectors:
    encoder = load_dual_encoder(str(folder), Path("unused"), 1, HashingTextEncoder())
    return np.concatenate([encoder.embed_images([drawn(n) for n in range(5)]), encoder.embed_text(PASSAGES)])


def bert(folder: Path) -> Vectors:
    return load_text_encoder(str(folder), Path("unused"), 1).embed_text(PASSAGES)


def clap(folder: Path) -> Vectors:
    encoder = load_audio_encoder(str(folder), Path("unused"), 1, HashingTextEncoder())
    assert encoder is not None
    return np.stack([*encoder.embed_audio([tone(3, 48_000), tone(12, 48_000, 90.0)]), encoder.embed_query("a bell")])


@pytest.mark.parametrize(
    ("made", "vectors"),
    [(checkpoints.clip, clip), (checkpoints.siglip, clip), (checkpoints.bert, bert), (checkpoints.clap, clap)],
    ids=["clip", "siglip", "bert", "clap"],
)
def test_half_precision_gives_nearly_the_same_vectors(
    made: Callable[[Path], Path], vectors: Callable[[Path], Vectors], tmp_path: Path
) -> None:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA here")
    folder = made(tmp_path / "checkpoint")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch.cuda, "is_available", lambda: False)
        exact = vectors(folder)
    half = vectors(folder)
    np.testing.assert_allclose(half, exact, atol=5e-3)  # in half precision on a CPU they differ by 5e-4
    assert not np.array_equal(exact, half)
