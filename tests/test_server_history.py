"""What the server keeps of questions and answers, without a server."""

import pytest

from rag.server.history import Conversation, EntryNotFound, History, PageRequest, StoredTurn
from rag.server.signed_links import LinkTarget, SignedLinks
from rag.types import TimeSpan


@pytest.fixture
def history(tmp_path):
    history = History(tmp_path / "history.db", most=3)
    yield history
    history.close()


def turn(number: int, who: str = "k", **changes) -> StoredTurn:
    known = {"id": f"resp_{number}", "kind": "response", "who": who, "made": number, "asked": f"asked {number}"}
    return StoredTurn(**(known | {"meant": f"meant {number}", "answered": f"answered {number}"} | changes))


def ids(history: History, who: str = "k") -> list[str]:
    found = []
    for number in range(9):
        try:
            found.append(history.turn(f"resp_{number}", who, "response").id)
        except EntryNotFound:
            continue
    return found


def test_the_oldest_turns_of_a_key_are_deleted(history):
    history.add(turn(0, "other"))
    for number in range(1, 6):
        history.add(turn(number))
    assert ids(history) == ["resp_3", "resp_4", "resp_5"]
    assert ids(history, "other") == ["resp_0"]


def test_the_oldest_conversations_are_deleted_with_their_turns(history):
    for number in range(5):
        history.add_conversation(Conversation(f"conv_{number}", "k" if number else "other", number))
        history.add(turn(number, "k" if number else "other", conversation=f"conv_{number}"))
    assert [each.id for each in history.conversations("k", PageRequest())[0]] == ["conv_2", "conv_3", "conv_4"]
    assert ids(history) == ["resp_2", "resp_3", "resp_4"]
    assert [each.id for each in history.conversations("other", PageRequest())[0]] == ["conv_0"]


def test_stored_texts_are_bounded(history):
    history.add(turn(1, asked="a" * 30_000, meant="m" * 30_000, answered="b" * 30_000))
    kept = history.turn("resp_1", "k", "response")
    assert [len(words) for words in (kept.asked, kept.meant, kept.answered)] == [20_000] * 3


def test_earlier_turns_are_followed_past_deleted_ones(history):
    for number in range(1, 4):
        history.add(turn(number, previous=f"resp_{number - 1}"))
    assert [asked for asked, _ in history.turns_up_to("resp_3", "k")] == ["meant 1", "meant 2", "meant 3"]
    history.delete(history.turn("resp_2", "k", "response"))
    assert [asked for asked, _ in history.turns_up_to("resp_3", "k")] == ["meant 1", "meant 3"]
    with pytest.raises(EntryNotFound, match="resp_2"):
        history.turns_up_to("resp_2", "k")
    with pytest.raises(EntryNotFound, match="resp_3"):
        history.turns_up_to("resp_3", "other")


def test_the_number_of_earlier_turns_is_bounded(tmp_path):
    history = History(tmp_path / "h.db")
    for number in range(1, 20):
        history.add(turn(number, previous=f"resp_{number - 1}"))
    assert [asked for asked, _ in history.turns_up_to("resp_19", "k")] == [
        f"meant {number}" for number in range(12, 20)
    ]
    history.close()


def test_turns_of_revoked_keys_are_deleted(history):
    for number, who in enumerate(("k", "revoked", "")):
        history.add(turn(number, who))
        history.add_conversation(Conversation(f"conv_{number}", who, 0))
    history.keep_only({"", "k"})
    assert ids(history, "revoked") == []
    assert history.conversations("revoked", PageRequest())[0] == []
    assert ids(history) == ["resp_0"]
    assert ids(history, "") == ["resp_2"]


def test_a_turn_is_found_only_under_its_own_kind(history):
    history.add(turn(1))
    with pytest.raises(EntryNotFound, match="resp_1"):
        history.turn("resp_1", "k", "chat.completion")


def test_only_its_owner_can_read_the_file(history, tmp_path):
    assert (tmp_path / "history.db").stat().st_mode & 0o077 == 0


def test_links_in_a_text_are_renewed_only_for_their_key():
    place = LinkTarget("museum", "2a391d2e-5f40-5d80-983c-fb8b4639d37f", TimeSpan(1, 2))
    old, new = SignedLinks("secret", lasts_s=-9), SignedLinks("secret", lasts_s=99)
    ours, theirs = old.path(place, "clip", "k"), old.path(place, "clip", "other")
    forged = SignedLinks("another").path(place, "clip", "k")
    text = f"See http://x{ours} and {theirs} and {forged}."
    renewed = new.renew(text, "k")
    assert renewed.endswith(f" and {theirs} and {forged}.")
    assert new.verify(renewed.split("/evidence/")[1].partition("/")[0]).target == place
