"""Exhibits as the page's template takes them: pictures as data URIs, sound and film once each, within a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from markupsafe import Markup
from PIL.Image import Image

from rag import media
from rag.errors import MediaError, UnsupportedMedia
from rag.segments import KIND_NAMES, place, playable_span
from rag.types import CharSpan, Evidence, FrameRegion, PageBox, Segment, TimeSpan, Word

THUMBNAIL_PX = 320
PICTURE_PX = 1200
_WHOLE_BYTES = 4_000_000  # a recording or film up to this size is put in whole
_NOTHING = Markup("")


@dataclass(frozen=True, slots=True)
class Player:
    """What plays an exhibit: the key of its media, and which of its seconds are cited."""

    media: str
    is_film: bool
    start_s: float
    end_s: float
    offset_s: float
    wave: str = ""
    length_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Spoken:
    """A spoken word, and whether it is in the sentence that is closest to what the answer says."""

    word: Word
    is_near: bool


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One exhibit, ready to be shown; what it does not have is empty.

    Attributes:
        number: as in the answer's markers.
        anchor: its id on the page.
        kind: of the segment.
        name: of the kind, for people.
        title: of the asset.
        place: in the asset, in words.
        picture: data URI of the page, figure, picture or frame.
        whole: data URI of the page around a figure.
        alt: what the picture shows.
        excerpt: its text with the closest sentence marked.
        caption: what its surroundings say it shows.
        tags: what the image encoder believes it shows.
        words: spoken words with times on the asset's clock.
        player: what plays it.
        still: where the picture beside a player is from: a frame, in words.
        note: why something is not shown.
        found: how the search came to it.
    """

    number: int
    anchor: str
    kind: str
    name: str
    title: str
    place: str
    picture: str = ""
    whole: str = ""
    alt: str = ""
    excerpt: Markup = _NOTHING
    caption: str = ""
    tags: tuple[str, ...] = ()
    words: tuple[Spoken, ...] = ()
    player: Player | None = None
    still: str = ""
    note: str = ""
    found: str = ""


@dataclass
class Album:
    """Collects the media of one page.

    Attributes:
        budget: bytes of sound and film that may still be added.
        picture_px: width of a picture that is shown in full.
        thumbnail_px: size of one that is not.
        whole_bytes: a recording or film up to this size is put in whole, others by the cited seconds.
        is_light: whether the seconds of recordings are put in as speech needs it, in mono at 6 kB a second.
        media: data URIs of the sound and film of the page, by key.
    """

    budget: int
    picture_px: int = PICTURE_PX
    thumbnail_px: int = THUMBNAIL_PX
    whole_bytes: int = _WHOLE_BYTES
    is_light: bool = False
    media: dict[str, str] = field(default_factory=dict)
    _clips: dict[tuple[Path, TimeSpan | None], tuple[str, float, bool]] = field(default_factory=dict)
    _checked: dict[tuple[Path, str], str] = field(default_factory=dict)

    def exhibit(self, evidence: Evidence, anchor: str, statement: str, *, in_full: bool) -> Exhibit:
        """The exhibit with its pictures and, in full, what plays it; a failure of its medium becomes its note."""
        segment = evidence.segment
        shown = _words(evidence, anchor, statement)
        path = Path(evidence.hit.path)
        problem = self._problem(path, segment.asset_id) if evidence.hit.path else "No file is known for it any more."
        if problem:
            return replace(shown, note=problem)
        try:
            seen = evidence.hit.seen or segment
            return self._in_full(shown, segment, seen, path) if in_full else self._in_short(shown, seen, path)
        except UnsupportedMedia:
            return shown  # a slide or a spreadsheet has no picture: its words are shown
        except MediaError as error:
            return replace(shown, note=str(error))

    def _problem(self, path: Path, asset_id: str) -> str:
        """Why a file cannot be shown; empty when it still is what was indexed. Each file is read once."""
        if (path, asset_id) not in self._checked:
            try:
                media.check_same(path, asset_id)
                self._checked[path, asset_id] = ""
            except MediaError as error:
                self._checked[path, asset_id] = str(error)
        return self._checked[path, asset_id]

    def _in_full(self, shown: Exhibit, segment: Segment, seen: Segment, path: Path) -> Exhibit:
        """Of a moment, `seen` is its best frame; otherwise it is the segment itself."""
        locator = segment.locator
        if isinstance(locator, CharSpan):
            return shown
        if isinstance(locator, TimeSpan):
            if seen is not segment:
                shown = replace(shown, picture=self._drawn(media.highlight(path, seen.locator)))
            return self._played(shown, segment, path, locator)
        if isinstance(locator, FrameRegion) and (span := playable_span(segment)):
            framed = replace(shown, picture=self._drawn(media.highlight(path, locator)))
            return self._played(framed, segment, path, span)
        marked = self._drawn(media.highlight(path, locator))
        if segment.kind == "figure" and isinstance(locator, PageBox) and locator.box:
            return replace(shown, picture=self._drawn(media.crop(path, locator)), whole=marked)
        return replace(shown, picture=marked)

    def _in_short(self, shown: Exhibit, segment: Segment, path: Path) -> Exhibit:
        if isinstance(segment.locator, CharSpan) or segment.modality == "audio":
            return shown
        if segment.kind != "passage":
            return replace(shown, picture=media.data_uri(media.thumbnail(path, segment.locator, self.thumbnail_px)))
        page = media.highlight(path, segment.locator)
        page.thumbnail((self.thumbnail_px, self.thumbnail_px))
        return replace(shown, picture=media.data_uri(page))

    def _played(self, shown: Exhibit, segment: Segment, path: Path, span: TimeSpan) -> Exhibit:
        is_film = segment.modality == "video"
        found = self._clip(path, span, is_film=is_film)
        if found is None:
            return replace(shown, note="Sound and film are left out here: the page would become too large.")
        key, offset_s, is_whole = found
        if is_film:
            poster = shown.picture or self._drawn(media.open_picture(path, span))
            return replace(shown, picture=poster, player=Player(key, True, span.start_s, span.end_s, offset_s))
        length = TimeSpan(0.0, max(media.length_s(path), span.end_s)) if is_whole else span
        wave = media.data_uri(media.waveform(path, length))
        player = Player(key, False, span.start_s, span.end_s, offset_s, wave, length.end_s - length.start_s)
        return replace(shown, player=player)

    def _drawn(self, picture: Image) -> str:
        picture.thumbnail((self.picture_px, 2 * self.picture_px))
        return media.data_uri(picture)

    def _clip(self, path: Path, span: TimeSpan, *, is_film: bool) -> tuple[str, float, bool] | None:
        """Key and first second of media that hold the span, and whether they are the whole; None over the budget."""
        for known in ((path, None), (path, span)):
            if known in self._clips:
                return self._clips[known]
        if self.is_light and not is_film:
            clip = media.Clip(media.mp3(path, span), "audio/mpeg", span.start_s, False)
        else:
            clip = media.playable(path, span, whole_bytes=min(self.whole_bytes, self.budget))
        if len(clip.data) > self.budget:
            return None
        self.budget -= len(clip.data)
        key = f"m{len(self.media) + 1}"
        self.media[key] = media.data_uri(clip.data, clip.media_type)
        found = self._clips[path, None if clip.is_whole else span] = key, clip.start_s, clip.is_whole
        return found


def _spoken(words: Sequence[Word], statement: str) -> tuple[Spoken, ...]:
    """The words of a transcript, those of the closest sentence marked."""
    text, starts = "", []
    for word in words:
        starts.append(len(text))
        text += word.text.strip() + " "
    near = media.closest_sentence(text, statement)
    return tuple(Spoken(w, near.start <= at < near.end) for w, at in zip(words, starts, strict=True))


def _words(evidence: Evidence, anchor: str, statement: str) -> Exhibit:
    segment, hit = evidence.segment, evidence.hit
    name = KIND_NAMES[segment.kind]
    where = place(segment)
    asset = segment.title or Path(hit.path).name or "Untitled"
    still = place(hit.seen) if hit.seen is not None and hit.seen.kind == "frame" else ""
    channels = [f"{channel.name}, place {channel.rank}" for channel in hit.channels]
    judged = [] if hit.relevance is None else [f"relevance {hit.relevance:+.1f}"]
    return Exhibit(
        number=evidence.number,
        anchor=f"{anchor}-e{evidence.number}",
        kind=segment.kind,
        name=name,
        title=asset,
        place=where,
        alt=segment.caption or ": ".join(part for part in (name, ", ".join(segment.tags)) if part),
        excerpt=media.excerpt(segment.text, media.closest_sentence(segment.text, statement)),
        caption=segment.caption,
        tags=segment.tags,
        words=_spoken(segment.words, statement),
        still=still,
        found=" · ".join([*channels, *judged]),
    )
