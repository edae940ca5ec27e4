"""Decode text files, and tell kinds of text apart."""

from __future__ import annotations

import codecs
import csv
import itertools
import json
import re

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# C0 controls that never occur in text; those of page breaks, DOS file ends and terminal logs do occur.
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\r\x0c\x1a\x1b"))
_DETECT_BYTES = 256 * 1024
_HTML_ROOTS = re.compile(
    r"html|head|body|div|p|h[1-6]|table|ul|ol|section|article|main|header|nav|span|a|img|pre|style|script|meta|title|"
    r"link|center|font|form|figure|blockquote"
)
_BY_SUFFIX = {
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".mdown": "text/markdown",
    ".html": "text/html",
    ".htm": "text/html",
    ".xhtml": "text/html",
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".srt": "application/x-subrip",
}
_JSON_SUFFIXES = (".json", ".jsonl", ".ndjson", ".geojson", ".ipynb")
# What may precede the first element of markup, with its start and its end.
_BEFORE_ROOT = (("<?", "?>"), ("<!--", "-->"), ("<!doctype", ">"))
_ROOT = re.compile(r"<(?:\w+:)?(\w+)")
_DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([A-Za-z][\w.:-]{2,20})""", re.I)
# Windows-1252 bytes for currencies, typographic quotes and dashes, ° § © ® ± × and the like; only ’ occurs in words.
_SIGNS = rb"\x80\x82\x84\x85\x8b\x91\x93-\x97\x99\x9b\xa0\xa3\xa5\xa7\xa9\xab\xae\xb0-\xb3\xb5\xb7\xb9\xbb-\xbe\xd7"
_IN_A_WORD = re.compile(rb"[A-Za-z][" + _SIGNS + rb"][A-Za-z]")
_NO_SIGN = re.compile(rb"[^\x00-\x7f\x92" + _SIGNS + rb"]")
_MARKDOWN_SIGNS = (
    re.compile(r"^#{1,6} \S", re.M),
    re.compile(r"^(?:```|~~~)", re.M),
    re.compile(r"\[[^\[\]\n]{1,200}\]\([^()\s]{1,300}\)"),
    re.compile(r"^\|?[ :]*-{3,}[ :]*\|", re.M),
    re.compile(r"\*\*\w[^*\n]{0,200}\*\*"),
    re.compile(r"\S\n(?:={3,}|-{3,})$", re.M),
)


def decode_text(data: bytes) -> str:
    """Decode a text by its byte order mark, as UTF-8, or by the likeliest legacy encoding.

    Never fail: bytes that fit no encoding become U+FFFD. Line ends become ``\\n``. NUL is dropped, because databases
    and XML refuse it.
    """
    text = data.removeprefix(codecs.BOM_UTF8).decode(_encoding(data), errors="replace")
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")


def is_text(head: bytes) -> bool:
    """Return whether the first bytes of a file are text in some encoding; they may end within a character."""
    if any(head.startswith(mark) for mark, _ in _BOMS):
        return True
    if 0 in head:
        return _is_utf16(head[:4096])
    if len(head.translate(None, _CONTROLS)) < len(head):
        return False
    return _is_utf8(head) or _guess_encoding(head[:4096].rpartition(b"\n")[0] or head[:4096]) is not None


def text_media_type(head: bytes, suffix: str) -> str | None:
    """Return the media type of a text file, judged by its first bytes; None if they are not text.

    Args:
        head: the file's beginning, which may end within a character.
        suffix: of its name, in lower case; decides only between kinds that the content leaves open.
    """
    if not is_text(head):
        return None
    text = decode_text(head)
    if suffix not in (".md", ".markdown"):
        marked_up = _marked_up_media_type(text, suffix)
        if marked_up:
            return marked_up
    if _is_json(text, suffix):
        return "application/json"
    if text.startswith("WEBVTT"):
        return "text/vtt"
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    if suffix in ("", ".txt", ".text"):
        return _likeliest_media_type(text)
    return "text/plain"


def delimiter_of(text: str) -> str | None:
    """Return the character between the columns of a table, if all its first rows have equally many; otherwise None."""
    for delimiter in "\t;,|":
        rows = csv.reader(itertools.islice(text.splitlines(), 40), delimiter=delimiter)
        try:
            widths = [len(row) for row in rows if row]
        except csv.Error:
            continue
        widths = widths[:-1] if len(widths) > 2 else widths  # the last row may be incomplete
        if len(widths) > 1 and min(widths) == max(widths) > 1:
            return delimiter
    return None


def _encoding(data: bytes) -> str:
    for mark, name in _BOMS:
        if data.startswith(mark):
            return name
    sample = data[:4096]
    zeros = sample.count(0)
    if zeros > len(sample) // 4:
        return "utf-16-le" if sample[1::2].count(0) > sample[::2].count(0) else "utf-16-be"
    if _is_utf8(data):
        return "utf-8"
    declared = _DECLARED.search(data[:2048])
    if declared and _is_codec(declared.group(1).decode()):
        return declared.group(1).decode()
    return _guess_encoding(data[:_DETECT_BYTES]) or "cp1252"


def _guess_encoding(data: bytes) -> str | None:
    """Return the likeliest legacy encoding; of equals Windows-1252, by far the most common one.

    In its own order, charset_normalizer takes short French, Spanish and Swedish texts for Central European: *Piña*
    becomes *Pińa*. If its word statistics prefer Czech to Western, they decide. Texts with only a few signs beyond
    ASCII, such as a price list in pounds, it identifies at random.
    """
    from charset_normalizer import from_bytes

    may_be_western = not _IN_A_WORD.search(data)
    if may_be_western and not _NO_SIGN.search(data):
        return "cp1252"
    matches = from_bytes(data)
    best, western = matches.best(), next((one for one in matches if "cp1252" in one.could_be_from_charset), None)
    if best is None or western is None or not may_be_western or western.chaos > best.chaos:
        return best.encoding if best else None
    return best.encoding if best.encoding == "cp1250" and western.coherence < best.coherence else "cp1252"


def _is_codec(name: str) -> bool:
    try:
        codecs.lookup(name)
        "".encode(name)  # refuses codecs that do not produce text
    except LookupError:
        return False
    return True


def _is_utf8(data: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)  # incremental: the data may end within a character
    except UnicodeDecodeError:
        return False
    return True


def _is_utf16(sample: bytes) -> bool:
    """Return whether every second byte is mostly zero and the others hardly ever, as in UTF-16 of a Latin script."""
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    return max(even, odd) > 0.35 * len(sample) and min(even, odd) < 0.01 * len(sample)


def _marked_up_media_type(text: str, suffix: str) -> str | None:
    start = _root_start(text)
    opening = _ROOT.match(text, start)
    if not opening:
        return None
    root = opening.group(1).lower()
    if root == "html" or "<!doctype html" in text[:start].lower():
        return "text/html"
    if root == "svg":
        return "image/svg+xml"
    if suffix == ".xml" or text[:start].lstrip().startswith("<?xml") or not _HTML_ROOTS.fullmatch(root):
        return "application/xml"
    return "text/html"


def _root_start(text: str) -> int:
    """Return where the first element can start: after white space, declarations and comments."""
    position = 0
    while True:
        position = len(text) - len(text[position:].lstrip())
        before = text[position : position + 9].lower()
        end = next((end for start, end in _BEFORE_ROOT if before.startswith(start)), None)
        if end is None:
            return position
        if before == "<!doctype" and "[" in text[position : text.find(">", position) + 1]:
            end = "]>"
        found = text.find(end, position)
        if found < 0:
            return len(text)
        position = found + len(end)


def _is_json(text: str, suffix: str) -> bool:
    start = text.lstrip()[:1]
    if not start or start not in "{[":
        return False
    if suffix in _JSON_SUFFIXES:
        return True
    try:
        _, end = json.JSONDecoder().raw_decode(text.lstrip())
    except json.JSONDecodeError as error:
        # If this is the head of a longer file, the error is at its very end.
        return len(text) > 1000 and error.pos > len(text) - 200
    except RecursionError:
        return False
    following = text.lstrip()[end:].lstrip()[:1]
    return not following or following in "{["  # one value, or one on each line


def _likeliest_media_type(text: str) -> str:
    if sum(bool(sign.search(text)) for sign in _MARKDOWN_SIGNS) > 1:
        return "text/markdown"
    delimiter = delimiter_of(text)
    lines = [line for line in text.splitlines() if line.strip()]
    if delimiter and len(lines) > 3 and lines[0].count(delimiter) > 1:
        return "text/tab-separated-values" if delimiter == "\t" else "text/csv"
    if re.match(r"1\n\d\d:\d\d:\d\d,\d{3} --> ", text):
        return "application/x-subrip"
    return "text/plain"
