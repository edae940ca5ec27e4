"""What is written on the command line, as values."""

from __future__ import annotations

import re

import pytest
import typer

from rag.cli.arguments import conditions, cuts, quotas
from rag.query.filters import parse_filter as read
from rag.types import Filter


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ([], {}),
        (["page=3", "language=en"], {"page": [3], "language": ["en"]}),
        (["page=3", "page=5"], {"page": [3, 5]}),
        (["page>=3", "page<9"], {"and": [{}, {"page": {"gte": 3}}, {"page": {"lt": 9}}]}),
        (["page=3", "page<=9"], {"and": [{"page": [3]}, {"page": {"lte": 9}}]}),
        (["page<=9", "page=3"], {"and": [{"page": [3]}, {"page": {"lte": 9}}]}),
        (["taken>=2024"], {"and": [{}, {"taken": {"gte": "2024"}}]}),
        (["title=a<b"], {"title": ["a<b"]}),
        (["near=48.86,2.35,5"], {"and": [{}, {"near": {"lat": 48.86, "lon": 2.35, "km": 5.0}}]}),
        (['{"not": {"page": 3}}'], {"and": [{}, {"not": {"page": 3}}]}),
    ],
)
def test_conditions(written, meant):
    assert conditions(written) == meant
    read(Filter(where=meant))  # is in the language of filters


@pytest.mark.parametrize("written", ["nonsense", "{", "near=Paris"])
def test_other_text_is_wrong_usage(written):
    with pytest.raises(typer.BadParameter, match=re.escape(written.rpartition("=")[2])):
        conditions([written])


def test_quotas_and_cuts():
    assert quotas(["image=3", "text=1"]) == {"image": 3, "text": 1}
    assert cuts("1,5,10") == (1, 5, 10)
    with pytest.raises(typer.BadParameter, match="`image`"):
        quotas(["image"])
    for refused in ("5,1", "0", "x"):
        with pytest.raises(typer.BadParameter, match=f"`{refused}`"):
            cuts(refused)
