"""A shop, as the README has it: a catalogue with pictures, asked in words and with a photo, filtered, ranked."""

import shutil
from pathlib import Path

import pytest

from rag import Image, KnowledgeBase, Text
from rag.config import Settings
from tests.fakes.readme import example

pytestmark = pytest.mark.language_model  # one question is for it; the shop is made once for all

CATALOGUE = """image,name,price,stock,discontinued,material
photo-04.jpg,Poster no. 1,49.00,0,no,paper
photo-07.jpg,Poster no. 2,19.50,12,no,canvas
photo-06.jpg,Poster no. 3,29.00,3,no,paper
photo-01.jpg,Poster no. 4,29.00,5,yes,canvas
"""
RULES = [
    {"where": {"discontinued": True}, "hide": True},
    {"where": {"stock": {"gte": 1}}, "boost": 3, "name": "in stock"},
]


@pytest.fixture(scope="module")
def shop(demo_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    (folder / "catalogue.csv").write_text(CATALOGUE)
    for line in CATALOGUE.splitlines()[1:]:
        shutil.copy(demo_folder / line.partition(",")[0], folder)
    with KnowledgeBase.open(folder.with_name("shop.exhibit"), Settings(ranking=RULES)) as shop:
        assert shop.ingest(folder).counts == {"indexed": 5}
        yield shop


def names(hits):
    return [hit.segment.meta["name"] for hit in hits]


def test_words_find_what_a_picture_shows_within_a_price(shop):
    assert names(shop.search("an orangutan", modality="image", top_k=1)) == ["Poster no. 1"]
    cheap = shop.search("an orangutan", modality="image", where={"price": {"lte": 30}})
    assert names(cheap)
    assert all(hit.segment.meta["price"] <= 30 for hit in cheap)


def test_a_photo_finds_its_like_and_says_why(shop, demo_folder):
    first, *_ = shop.search([Image(demo_folder / "photo-07.jpg"), Text("canvas")], modality="image")
    assert names([first]) == ["Poster no. 2"]
    why = str(first.why)
    assert "like image: place 1" in why
    assert "words: canvas" in why
    assert "rule: in stock ×3" in why


def test_discontinued_products_are_not_offered(shop):
    assert "Poster no. 4" not in names(shop.search("a poster", modality="image", top_k=50))
    assert "Poster no. 3" in names(shop.search("a poster", modality="image", top_k=50))


def test_among_equals_what_is_in_stock_comes_first(shop):
    found = shop.search("poster paper", modality="image")
    scores = {hit.segment.meta["name"]: hit.score for hit in found}
    assert scores["Poster no. 3"] > scores["Poster no. 1"]


def test_the_language_model_answers_from_the_product_table(shop):
    answer = shop.ask("How much does Poster no. 2 cost?")
    assert "19.50" in answer.text
    assert answer.cited


def test_a_preference_is_stored_from_consent_until_it_is_erased(shop):
    (liked,) = shop.search("an orangutan", modality="image", top_k=1)
    shown = {"kb": shop, "hit": liked}
    exec(example("u-4711"), shown)
    assert {hit.why.rules[-1].partition(" ")[0] for hit in shown["hits"]} == {"taste"}
    assert shop.preferences.users() == []


def fields(base):
    return {Path(hit.path).name: hit.segment.meta for hit in base.contents.segments() if hit.segment.kind == "picture"}


def test_changes_in_the_product_table_change_the_shop(demo_folder, tmp_path):
    folder, catalogue = tmp_path / "shop", tmp_path / "shop" / "catalogue.csv"
    folder.mkdir()
    for name in ("photo-04.jpg", "photo-07.jpg"):
        shutil.copy(demo_folder / name, folder)
    shutil.copy(folder / "photo-04.jpg", folder / "same.jpg")
    rows = ["photo-04.jpg;ape;49,00 €;39,00 €", "photo-07.jpg;cat;19,50 €;", "same.jpg;copy;5;", "gone.jpg;gone;1;"]
    with KnowledgeBase.open(tmp_path / "kb") as base:

        def ingest(*rows):
            catalogue.write_text("\n".join(["image;name;price;sale price", *rows]), encoding="cp1252")
            return base.ingest(folder)

        report = ingest(*rows)
        assert report.counts == {"indexed": 3, "unchanged": 1}  # the same picture is indexed once, as its first row
        assert ["gone.jpg" in file.reason for file in report if file.path == str(catalogue)] == [True]
        assert fields(base)["photo-04.jpg"].items() >= {"name": "ape", "price": 49, "sale_price": 39}.items()
        assert base.ingest(folder).counts == {"unchanged": 4}
        assert ingest("photo-04.jpg;ape;49,00 €;", *rows[1:]).counts == {"indexed": 2, "unchanged": 2}
        assert "sale_price" not in fields(base)["photo-04.jpg"]
        assert ingest(rows[1]).counts == {"indexed": 2, "unchanged": 2}  # rows of the other are gone
        assert "price" not in fields(base)["photo-04.jpg"]
        assert base.ingest(folder / "photo-07.jpg").counts == {"unchanged": 1}  # without the catalogue nothing is known
        assert fields(base)["photo-07.jpg"]["price"] == 19.5
