"""What kind of answer a question asks for, and what is no question to the files."""

from __future__ import annotations

import pytest

from rag.answering.small_talk import small_talk
from rag.catalog.catalog import Catalog
from rag.query.question_kind import asks_for_medium, talk_of


@pytest.mark.parametrize(
    ("words", "talk"),
    [
        ("Hello!", "greeting"),
        ("hi there", "greeting"),
        ("Hey, how are you?", "greeting"),
        ("Guten Tag", "greeting"),
        ("Bonjour !", "greeting"),
        ("¡Hola!", "greeting"),
        ("Thanks a lot!", "thanks"),
        ("Danke schön", "thanks"),
        ("What can you do?", "abilities"),
        ("help", "abilities"),
        ("What is in this collection?", "collection"),
        ("What's in the knowledge base?", "collection"),
        ("What is this collection about?", "collection"),
        ("How many photos do you have?", "collection"),
        ("How many files are in this collection?", "collection"),
        ("Which documents are there in the collection?", "collection"),
        ("List all files.", "collection"),
    ],
)
def test_talk_goes_through_no_search(words, talk):
    assert talk_of(words) == talk


@pytest.mark.parametrize(
    "question",
    [
        "How many photos show apes?",
        "Hello Kitty: who invented it?",
        "What documents do you have on termites?",
        "Which recordings are in this collection about Gombe?",
        "Who says hello in the film?",
        "What is in the box?",
        "Thanks to whom did Goodall go to Gombe?",
        "How does this work in chimpanzees?",
        "",
    ],
)
def test_a_question_to_the_files_is_no_talk(question):
    assert talk_of(question) is None


@pytest.mark.parametrize(
    ("question", "asks"),
    [
        ("Which photo shows an orangutan?", True),
        ("Where in the film is a bee on screen?", True),
        ("Is a dog heard barking?", True),
        ("What do chimpanzees use to hunt?", False),
        ("Who wrote the first history?", False),
    ],
)
def test_some_questions_ask_for_something_to_see_or_hear(question, asks):
    assert asks_for_medium(question) == asks


def test_an_empty_collection_says_so():
    answer = small_talk("What is in this collection?", Catalog("sqlite://").entries)
    assert answer is not None
    assert answer.text == "This collection is empty."
    assert not answer.declined


def test_the_demo_tells_what_it_holds_without_a_search(demo_base):
    answer = demo_base.ask("What is in this collection?")
    assert answer.text.startswith(
        "This collection holds 2 documents, 8 images, 1 recording and 1 video. Among them are "
    )
    assert (answer.citations, answer.evidence, answer.declined) == ((), (), False)
    assert [step.name for step in answer.trace] == ["total"]
    greeting, last = demo_base.ask_stream("Hello!")
    assert greeting.text.startswith("Hello. This collection holds")
    assert last.answer.text == greeting.text
