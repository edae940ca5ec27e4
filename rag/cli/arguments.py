"""Command-line text to values; text that cannot be parsed raises `typer.BadParameter`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import typer

DEFAULT_KB = Path(".exhibit")
_CONDITION = re.compile(r"\s*([^<>=]*?)\s*(<=|>=|<|>|=)(.*)", re.S)
_BOUNDS = {"<=": "lte", ">=": "gte", "<": "lt", ">": "gt"}
_YEAR = re.compile(r"\d{4}")


def parts(
    words: str | None, image: Path | None, audio: Path | None, video: Path | None, without: list[str] | None = None
) -> list[Any]:
    """Return the given texts and files as the parts of one query."""
    from rag.query.language import Audio, Image, Not, Text, Video

    given: tuple[tuple[Any, Any], ...] = ((Text, words), (Image, image), (Audio, audio), (Video, video))
    wanted = [part(what) for part, what in given if what is not None]
    return [*wanted, *(Not(Text(unwanted)) for unwanted in without or ())]


def quotas(texts: list[str] | None) -> dict[Any, int]:
    """Parse quotas such as `image=3`."""
    found = {}
    for text in texts or []:
        name, _, number = text.partition("=")
        if not number.strip().isdecimal():
            raise typer.BadParameter(f"`{text}` is not a quota. Write MODALITY=NUMBER, as in image=3.")
        found[name.strip()] = int(number)
    return found


def conditions(texts: list[str] | None) -> dict[str, Any]:
    """Parse `page=3`, `page<=10`, `near=48.86,2.35,5` and JSON to a filter in the language of `rag.query.filters`.

    All conditions must hold; several values of one field with `=` are alternatives.
    """
    values: dict[str, list[Any]] = {}
    others: list[Any] = []
    for text in texts or []:
        if text.lstrip().startswith("{"):
            others.append(_json(text))
            continue
        found = _CONDITION.fullmatch(text)
        if not found:
            raise typer.BadParameter(f"`{text}` is not a condition. Write FIELD=VALUE, FIELD<=NUMBER or FIELD>=NUMBER.")
        key, sign, raw = found[1], found[2], found[3].strip()
        if (key, sign) == ("near", "="):
            others.append({"near": _place(raw)})
        elif sign == "=":
            values.setdefault(key, []).append(_value(raw))
        else:
            others.append({key: {_BOUNDS[sign]: _bound(key, raw)}})
    return {"and": [values, *others]} if others else dict(values)


def cuts(text: str) -> tuple[int, ...]:
    """Parse cut-offs such as `1,5,10`: ascending numbers from 1."""
    found = tuple(int(part) if part.strip().isdecimal() else 0 for part in text.split(","))
    if found[0] < 1 or sorted(set(found)) != list(found):
        raise typer.BadParameter(f"`{text}` must be ascending numbers from 1, such as 1,5,10.")
    return found


def require_folder(kb: Path) -> None:
    """Check that the folder of a knowledge base exists.

    Raises:
        QueryError: it does not.
    """
    from rag.errors import QueryError

    if not kb.is_dir():
        raise QueryError(f"No knowledge base at {kb}. Make one with `exhibit ingest FOLDER --kb {kb}`.")


def _value(raw: str) -> Any:
    try:
        return json.loads(raw)
    except json.JSONDecodeError:
        return raw


def _bound(key: str, raw: str) -> Any:
    """Return a number or a time; a year alone is a time only for the field `taken`."""
    return raw if key == "taken" and _YEAR.fullmatch(raw) else _value(raw)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise typer.BadParameter(f"`{text}` is not JSON ({error}).") from error


def _place(text: str) -> dict[str, float]:
    """Parse `48.86,2.35,5` as a place and a distance."""
    try:
        lat, lon, km = (float(number) for number in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"`near={text}` is not a place. Write near=LATITUDE,LONGITUDE,KILOMETRES.") from error
    return {"lat": lat, "lon": lon, "km": km}
