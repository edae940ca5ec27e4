"""Pictures, clips and texts of the place that a locator names: page, frame, seconds, waveform, marked text.

`opening` opens files, `seeking` decodes a place in a recording or video; `pictures`, `clips` and `marked_text` make
what people see, and `renderings` stores it. All is made from the original file, within limits of pixels and seconds.
Files are untrusted: every failure is a `MediaError`. Boxes are fractions of the upright page, picture or frame, from
its top left; seconds count from the container's start time, as in a player.
"""

from rag.media.clips import Clip, clip, length_s, mp3, playable, waveform
from rag.media.files import check_same
from rag.media.library import MediaLibrary
from rag.media.marked_text import closest_sentence, excerpt
from rag.media.pictures import crop, data_uri, highlight, open_picture, thumbnail
from rag.media.renderings import VIEWS, Renderings, View

__all__ = [
    "VIEWS",
    "Clip",
    "MediaLibrary",
    "Renderings",
    "View",
    "check_same",
    "clip",
    "closest_sentence",
    "crop",
    "data_uri",
    "excerpt",
    "highlight",
    "length_s",
    "mp3",
    "open_picture",
    "playable",
    "thumbnail",
    "waveform",
]
