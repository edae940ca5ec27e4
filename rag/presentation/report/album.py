"""Evidence as the templates take it: pictures as data URIs, each sound and video once, within a budget of bytes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from markupsafe import Markup
from PIL.Image import Image

from rag import media
from rag.errors import MediaError, UnsupportedMedia
from rag.presentation.verdicts import Doubt, audible_span, visible_place
from rag.segments import KIND_NAMES, place, playable_span
from rag.types import CharSpan, Evidence, FrameRegion, Locator, PageBox, Segment, TimeSpan, Verdict, Word

THUMBNAIL_PX = 320
PICTURE_PX = 1200
_WHOLE_BYTES = 4_000_000  # a recording or video up to this size is included whole
_NOTHING = Markup("")
_NO_VERDICT = Verdict()


@dataclass(frozen=True, slots=True)
class Player:
    """The player of a piece of evidence: the key of its media, and which of its seconds are cited."""

    media: str
    is_video: bool
    start_s: float
    end_s: float
    offset_s: float
    wave: str = ""
    length_s: float = 0.0


@dataclass(frozen=True, slots=True)
class TranscriptWord:
    """A spoken word, and whether it belongs to the sentence that is closest to the answer's statement."""

    word: Word
    is_near: bool


@dataclass(frozen=True, slots=True)
class EvidenceView:
    """One piece of evidence, ready for a template; fields that it lacks are empty.

    Attributes:
        number: as in the answer's markers.
        anchor: its id on the page.
        kind: of the segment.
        name: of the kind, for people.
        title: of the asset.
        place: the place in the asset, in words.
        picture: data URI of the page, figure, picture or frame.
        whole: data URI of the page around a figure.
        alt: what the picture shows.
        excerpt: its text with the closest sentence marked.
        caption: text of its surroundings about it.
        tags: things that an encoder recognises in it.
        words: spoken words with times on the asset's clock.
        player: its player.
        still: the frame of the picture beside a player, in words.
        note: why something is missing.
        found: the channels that found it.
        doubts: what was not found to be supported by it.
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
    words: tuple[TranscriptWord, ...] = ()
    player: Player | None = None
    still: str = ""
    note: str = ""
    found: str = ""
    doubts: tuple[Doubt, ...] = ()


@dataclass
class Album:
    """The media of one page, collected within a budget.

    Attributes:
        budget: bytes of sound and video that may still be added.
        picture_px: width of a picture that is shown in full.
        thumbnail_px: size of a picture that is not.
        whole_bytes: a recording or video up to this size is included whole, larger ones by the cited seconds.
        is_light: whether recordings are included at the quality that speech needs: mono, 6 kB a second.
        media: data URIs of the sound and video of the page, by key.
    """

    budget: int
    picture_px: int = PICTURE_PX
    thumbnail_px: int = THUMBNAIL_PX
    whole_bytes: int = _WHOLE_BYTES
    is_light: bool = False
    media: dict[str, str] = field(default_factory=dict)
    _clips: dict[tuple[Path, TimeSpan | None], tuple[str, float, bool]] = field(default_factory=dict)
    _checked: dict[tuple[Path, str], str] = field(default_factory=dict)

    def view(
        self, evidence: Evidence, anchor: str, statement: str, *, in_full: bool, verdict: Verdict = _NO_VERDICT
    ) -> EvidenceView:
        """Return the view with its pictures and, in full, its player; a failure of the medium becomes its note.

        Args:
            evidence: the evidence.
            anchor: id of the answer on the page.
            statement: words of the answer, whose closest sentence is marked.
            in_full: whether the answer cites it.
            verdict: names the narrower place and the words to mark instead, where it knows them.
        """
        segment = evidence.segment
        view = _without_media(evidence, anchor, statement, verdict)
        path = Path(evidence.hit.path)
        problem = self._problem(path, segment.asset_id) if evidence.hit.path else "Its file is not known any more."
        if problem:
            return replace(view, note=problem)
        try:
            seen = evidence.hit.picture_segment or segment
            if in_full:
                return self._in_full(view, segment, seen, path, verdict.locator)
            return self._in_short(view, seen, path)
        except UnsupportedMedia:
            return view  # a slide or a spreadsheet has no picture: its words are shown
        except MediaError as error:
            return replace(view, note=str(error))

    def _problem(self, path: Path, asset_id: str) -> str:
        """Return why a file cannot be shown; empty if its content is still the indexed one. Each file is read once."""
        if (path, asset_id) not in self._checked:
            try:
                media.check_same(path, asset_id)
                self._checked[path, asset_id] = ""
            except MediaError as error:
                self._checked[path, asset_id] = str(error)
        return self._checked[path, asset_id]

    def _in_full(
        self, view: EvidenceView, segment: Segment, seen: Segment, path: Path, narrower: Locator | None
    ) -> EvidenceView:
        """Show all of it with the narrower place marked. For a moment, `seen` is its best frame; else the segment."""
        locator = segment.locator
        if isinstance(locator, CharSpan):
            return view
        if isinstance(locator, TimeSpan):
            if seen is not segment:
                view = replace(view, picture=self._marked_uri(path, visible_place(seen.locator, narrower)))
            return self._with_player(view, segment, path, locator, narrower)
        if isinstance(locator, FrameRegion) and (span := playable_span(segment)):
            framed = replace(view, picture=self._marked_uri(path, visible_place(locator, narrower)))
            return self._with_player(framed, segment, path, span, narrower)
        marked = self._marked_uri(path, visible_place(locator, narrower))
        if segment.kind == "figure" and isinstance(locator, PageBox) and locator.box:
            return replace(view, picture=self._picture_uri(_figure(path, locator, narrower)), whole=marked)
        return replace(view, picture=marked)

    def _in_short(self, view: EvidenceView, segment: Segment, path: Path) -> EvidenceView:
        if isinstance(segment.locator, CharSpan) or segment.modality == "audio":
            return view
        if segment.kind != "passage":
            return replace(view, picture=media.data_uri(media.thumbnail(path, segment.locator, self.thumbnail_px)))
        page = media.highlight(path, segment.locator)
        page.thumbnail((self.thumbnail_px, self.thumbnail_px))
        return replace(view, picture=media.data_uri(page))

    def _with_player(
        self, view: EvidenceView, segment: Segment, path: Path, span: TimeSpan, narrower: Locator | None
    ) -> EvidenceView:
        is_video = segment.modality == "video"
        found = self._clip(path, span, is_video=is_video)
        if found is None:
            return replace(view, note="Sound and video are left out here: the page would become too large.")
        key, offset_s, is_whole = found
        cited = audible_span(span, narrower)
        if is_video:
            poster = view.picture or self._picture_uri(media.open_picture(path, span))
            return replace(view, picture=poster, player=Player(key, True, cited.start_s, cited.end_s, offset_s))
        length = TimeSpan(0.0, max(media.length_s(path), span.end_s)) if is_whole else span
        wave = media.data_uri(media.waveform(path, length))
        player = Player(key, False, cited.start_s, cited.end_s, offset_s, wave, length.end_s - length.start_s)
        return replace(view, player=player)

    def _marked_uri(self, path: Path, locator: Locator) -> str:
        return self._picture_uri(media.highlight(path, locator))

    def _picture_uri(self, picture: Image) -> str:
        picture.thumbnail((self.picture_px, 2 * self.picture_px))
        return media.data_uri(picture)

    def _clip(self, path: Path, span: TimeSpan, *, is_video: bool) -> tuple[str, float, bool] | None:
        """Return key and first second of media with the span, and whether they are the whole; None over the budget."""
        for known in ((path, None), (path, span)):
            if known in self._clips:
                return self._clips[known]
        if self.is_light and not is_video:
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


def _figure(path: Path, figure: PageBox, narrower: Locator | None) -> Image:
    """Return the pixels of a figure, with the narrower place on it marked."""
    cited = visible_place(figure, narrower)
    if figure.box is None or cited == figure:
        return media.crop(path, figure)
    page, box = media.highlight(path, cited), figure.box
    left, top = round(box.x * page.width), round(box.y * page.height)
    return page.crop((left, top, left + round(box.w * page.width), top + round(box.h * page.height)))


def _mark_words(words: Sequence[Word], statement: str, narrower: Locator | None) -> tuple[TranscriptWord, ...]:
    """Return the words of a transcript, with those of the narrower seconds marked, or of the closest sentence."""
    if isinstance(narrower, TimeSpan):
        middles = [(word, (word.start_s + word.end_s) / 2) for word in words]
        inside = tuple(TranscriptWord(word, narrower.start_s <= at <= narrower.end_s) for word, at in middles)
        if any(each.is_near for each in inside):
            return inside
    text, starts = "", []
    for word in words:
        starts.append(len(text))
        text += word.text.strip() + " "
    near = media.closest_sentence(text, statement)
    return tuple(TranscriptWord(w, near.start <= at < near.end) for w, at in zip(words, starts, strict=True))


def _marked_span(text: str, statement: str, quote: str) -> CharSpan:
    """Return the characters of the quote, whatever the space in it; or of the closest sentence."""
    spaced = r"\s+".join(re.escape(word) for word in quote.split())
    found = re.search(spaced, text) if spaced else None
    return CharSpan(*found.span()) if found else media.closest_sentence(text, statement)


def _without_media(evidence: Evidence, anchor: str, statement: str, verdict: Verdict) -> EvidenceView:
    segment, hit = evidence.segment, evidence.hit
    name = KIND_NAMES[segment.kind]
    where = place(segment)
    asset = segment.title or Path(hit.path).name or "Untitled"
    still = (
        place(hit.picture_segment) if hit.picture_segment is not None and hit.picture_segment.kind == "frame" else ""
    )
    channels = [f"{channel.name}, place {channel.rank}" for channel in hit.channels]
    judged = [] if hit.relevance is None else [f"relevance {hit.relevance:+.1f}"]
    return EvidenceView(
        number=evidence.number,
        anchor=f"{anchor}-e{evidence.number}",
        kind=segment.kind,
        name=name,
        title=asset,
        place=where,
        alt=segment.caption or ": ".join(part for part in (name, ", ".join(segment.tags)) if part),
        excerpt=media.excerpt(segment.text, _marked_span(segment.text, statement, verdict.quote)),
        caption=segment.caption,
        tags=segment.tags,
        words=_mark_words(segment.words, statement, verdict.locator),
        still=still,
        found=" · ".join([*channels, *judged]),
    )
