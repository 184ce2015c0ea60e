"""The ring between a child and its keeper: every record once, in order, whoever dies in between."""

import mmap
from collections import deque
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.engine import ring
from penstock.engine.ring import MOST, SIZE, Ring

AT = 4096
"""Where the ring begins in its memory."""
CAPACITY = SIZE - 64


@pytest.fixture
def memory() -> Iterator[mmap.mmap]:
    with mmap.mmap(-1, AT + SIZE + AT) as made:
        yield made


def all_of(reader: Ring) -> list[bytes]:
    """What a keeper finds that comes new."""
    return [record for _, record in reader.read(reader.tail)]


def record(number: int, length: int) -> bytes:
    return bytes([number % 251]) * length


def test_what_is_written_is_read_in_order(memory: mmap.mmap) -> None:
    writer, reader = Ring(memory, AT), Ring(memory, AT)
    records = [b"one", b"", b"three" * 1000]
    assert all(map(writer.write, records))
    assert all_of(reader) == records


def test_what_is_not_released_is_there_for_the_next_reader(memory: mmap.mmap) -> None:
    writer, first = Ring(memory, AT), Ring(memory, AT)
    for text in (b"one", b"two", b"three"):
        writer.write(text)
    positions = [position for position, _ in first.read(first.tail)]
    first.release(positions[0])
    assert all_of(Ring(memory, AT)) == [b"two", b"three"]


def test_a_full_ring_takes_nothing_until_something_is_released(memory: mmap.mmap) -> None:
    writer, reader = Ring(memory, AT), Ring(memory, AT)
    written = 0
    while writer.write(record(written, MOST)):
        written += 1
    assert not writer.write(record(written, MOST))
    first, _ = next(reader.read(reader.tail))
    reader.release(first)
    assert writer.write(record(written, MOST))
    assert all_of(reader) == [record(number, MOST) for number in range(1, written + 1)]


def test_a_record_that_is_not_whole_yet_is_not_read(memory: mmap.mmap) -> None:
    """Nor what comes behind it: another processor may see the position before the bytes."""
    writer, reader = Ring(memory, AT), Ring(memory, AT)
    writer.write(b"first")
    writer.write(b"second")
    place = memory.find(b"second")
    memory[place : place + 1] = b"S"
    assert all_of(reader) == [b"first"]
    memory[place : place + 1] = b"s"
    assert all_of(reader) == [b"first", b"second"]


def test_a_length_that_no_record_has_is_not_believed(memory: mmap.mmap) -> None:
    writer, reader = Ring(memory, AT), Ring(memory, AT)
    writer.write(b"first")
    memory[AT + ring._DATA : AT + ring._DATA + 4] = b"\xff" * 4
    assert all_of(reader) == []


def test_a_new_writer_begins_with_an_empty_ring(memory: mmap.mmap) -> None:
    writer = Ring(memory, AT)
    writer.write(b"of the last one")
    writer.reset()
    assert all_of(Ring(memory, AT)) == []
    writer.write(b"new")
    assert all_of(Ring(memory, AT)) == [b"new"]


def test_it_writes_nothing_beside_its_memory(memory: mmap.mmap) -> None:
    writer, reader = Ring(memory, AT), Ring(memory, AT)
    for number in range(40):
        assert writer.write(b"\xff" * (MOST - number))
        for position, _ in reader.read(reader.tail):
            reader.release(position)
    assert memory[:AT] == bytes(AT)
    assert memory[AT + SIZE :] == bytes(AT)


LENGTHS = st.one_of(st.integers(0, 200), st.integers(0, MOST), st.sampled_from([0, 1, MOST - 1, MOST]))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), LENGTHS),
        st.tuples(st.just("release"), st.integers(1, 8)),
        st.tuples(st.just("another reader"), st.just(0)),
    ),
    max_size=60,
)


@given(begins=st.integers(0, 3 * CAPACITY), steps=STEPS)
@settings(deadline=None, max_examples=150)
def test_records_of_any_length_survive_every_turn_of_the_ring(begins: int, steps: list[tuple[str, int]]) -> None:
    """Wherever in the ring it begins, what was written and not released is what any reader finds."""
    with mmap.mmap(-1, SIZE) as memory:
        for at in (ring._HEAD, ring._TAIL):
            ring._POSITION.pack_into(memory, at, begins)
        writer, reader = Ring(memory, 0), Ring(memory, 0)
        writer._written = writer._released = begins
        position, number, kept = begins, 0, deque[bytes]()
        read: deque[tuple[int, bytes]] = deque()
        for step, size in steps:
            if step == "write":
                text = record(number, size)
                has_room = sum(len(each) + 8 for each in kept) + len(text) + 8 <= CAPACITY
                assert writer.write(text) is has_room
                if has_room:
                    kept.append(text)
                    number += 1
            elif step == "release":
                read += reader.read(position)
                position = reader.head
                for _ in range(min(size, len(read))):
                    end, text = read.popleft()
                    assert text == kept.popleft()
                    reader.release(end)
            else:
                reader, read, position = Ring(memory, 0), deque(), Ring(memory, 0).tail
            assert all_of(Ring(memory, 0)) == list(kept)
