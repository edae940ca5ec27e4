"""Shows the place that a locator names: page, picture, frame, playable seconds, waveform, marked text.

Everything is made anew from the file where it lies, and bounded in pixels and seconds. Files are untrusted: whatever is
wrong with one ends in a `MediaError`. Boxes are fractions of the page, picture or frame as it is shown, upright, from
its top left; seconds count from the container's start time, as a player counts them.
"""

from rag.media.clips import Clip, clip, length_s, mp3, playable, waveform
from rag.media.files import check_same
from rag.media.library import MediaLibrary
from rag.media.pictures import crop, data_uri, highlight, open_picture, thumbnail
from rag.media.renderings import VIEWS, Renderings, View
from rag.media.text import closest_sentence, excerpt

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
