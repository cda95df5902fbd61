"""Ids name their shard, the setting names the servers, and lists of several servers are merged without a gap."""

import asyncio
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.errors import RedisUrlError
from jobs.job_list import Cursor
from jobs.queue import Queue
from jobs.shards.lists import Part, merge
from jobs.shards.numbers import MAX_NUMBER, numbered, ranked, shard_of
from jobs.shards.queue import ShardedQueue
from jobs.shards.shards import Shards
from jobs.shards.urls import checked_urls, is_sharded, read_shards
from service.job_ids import created_ms, new_job_id

NUMBERS = st.integers(0, MAX_NUMBER)
MS = st.integers(1, 2**48 - 1)


@given(NUMBERS, MS)
def test_an_id_names_its_shard_and_its_time_and_is_a_uuid(number, ms):
    made = new_job_id(ms, number)
    assert (shard_of(made), created_ms(made)) == (number, ms)
    uuid = UUID(made)
    assert uuid.variant == "specified in RFC 4122" and uuid.version == (8 if number else 7)


@given(st.uuids(version=4), st.text("0123456789abcdef-XYZ", max_size=40))
def test_an_id_without_a_number_lives_on_shard_0(uuid, text):
    assert shard_of(uuid.hex) == 0
    assert shard_of(text) == 0 or text[12] == "8"


@pytest.mark.parametrize("number", [-1, MAX_NUMBER + 1])
def test_no_id_has_a_number_out_of_range(number):
    with pytest.raises(ValueError, match="expected a number from 0"):
        numbered("0" * 32, number)


@given(st.permutations([3, 0, 17]))
def test_the_order_of_numbered_urls_does_not_matter(order):
    text = " ".join(f"redis://h{number}:6379/0?shard={number}" for number in order)
    assert read_shards(text) == {number: f"redis://h{number}:6379/0" for number in (0, 3, 17)}
    assert read_shards(checked_urls(text)) == read_shards(text)


def test_urls_without_numbers_have_that_of_their_position():
    assert list(read_shards("redis://a redis+sentinel://b:1,c:2/m/0 unix:///s")) == [0, 1, 2]


def test_one_plain_url_is_not_sharded():
    assert not is_sharded("redis://a:6379/0") and checked_urls("valkey://a") == "redis://a"
    assert is_sharded("redis://a?shard=0") and is_sharded("redis://a redis://b") and is_sharded("@/etc/shards")


def test_a_file_has_a_url_in_each_line_and_comments(tmp_path):
    path = tmp_path / "shards"
    path.write_text("# Berlin\nredis://a/0?shard=0\n\nredis://b/0?shard=2 redis://c/0?shard=1\n")
    assert list(read_shards(f"@{path}")) == [0, 1, 2]
    path.write_text("# nothing\n")
    with pytest.raises(RedisUrlError, match="has no URL"):
        read_shards(f"@{path}")


def test_shards_follow_their_file_and_keep_what_they_had_where_it_is_wrong(tmp_path):
    path = tmp_path / "shards"

    async def scenario():
        path.write_text("redis://a/0?shard=0")
        shards = Shards(f"@{path}")
        shards.read_file()
        first = shards.numbered(0)
        path.write_text("redis://a/0?shard=0 redis://b/0?shard=5")
        shards.read_file()
        assert [shard.number for shard in shards.all] == [0, 5] and shards.numbered(0) is first
        path.write_text("redis://a/0?shard=0 nonsense")
        shards.read_file()
        assert [shard.number for shard in shards.all] == [0, 5]
        path.write_text("redis://b/0?shard=5")
        shards.read_file()
        assert [shard.number for shard in shards.all] == [5]
        await shards.close()

    asyncio.run(scenario())


@given(st.sets(NUMBERS, min_size=2, max_size=6), st.text(min_size=1, max_size=20))
def test_a_removed_shard_moves_only_its_own_subjects(numbers, subject):
    """The property of rendezvous hashing."""
    chosen, *others = ranked(subject, numbers)
    for other in others:
        assert ranked(subject, numbers - {other})[0] == chosen


@given(
    st.lists(st.lists(st.integers(0, 30), max_size=12), min_size=1, max_size=4), st.integers(1, 5), st.integers(1, 4)
)  # fmt: skip
def test_walking_a_merged_list_gives_each_entry_once_in_order(parts, count, looks):
    """Each part looks at `looks` entries only, of which it finds those of an even millisecond, as with a filter."""
    stored = [
        sorted(((ms, f"{number}-{index}") for index, ms in enumerate(times)), reverse=True)
        for number, times in enumerate(parts)
    ]

    def page(entries, after):
        rest = [place for place in entries if after is None or place < (after.ms, after.id)]
        seen = rest[:looks]
        found = [(place, place) for place in seen if place[0] % 2 == 0]
        return Part(found, Cursor(*seen[-1]) if len(rest) > looks else None)

    walked, after = [], None
    for _ in range(200):
        merged = merge([page(entries, after) for entries in stored], count)
        walked += [place for place, _ in merged.entries]
        after = merged.next
        if after is None:
            break
    wanted = sorted((place for entries in stored for place in entries if place[0] % 2 == 0), reverse=True)
    assert walked == wanted


def test_every_method_of_the_queue_is_one_of_the_sharded_queue():
    """What is inherited would work on no server at all."""
    missing = {
        name for name in vars(Queue) if not name.startswith("_") and name not in vars(ShardedQueue)
    }  # fmt: skip
    assert missing == set()
