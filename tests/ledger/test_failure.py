"""Which errors are the same error."""

import threading

import pytest
from celery.utils.serialization import UnpickleableExceptionWrapper, get_pickleable_exception

from penstock.job import Reason
from penstock.ledger.failure import describe, describe_cause, fingerprint, wording

TRACEBACK = """Traceback (most recent call last):
  File "/srv/app/tasks/shop.py", line 10, in charge
    pay(customer)
  File "/srv/app/tasks/shop.py", line 32, in pay
    raise ValueError(customer)
ValueError: no such customer
"""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("no customer 5", "no customer 1204"),
        ("took 0.25 s", "took 13 s"),
        ("job 3f2a91c0-5b1e-4c59-9a53-0c7d1f0e8a11 is gone", "job 77b0c2d4-0000-4c59-9a53-0c7d1f0e8a11 is gone"),
        ("<Order object at 0x7f1c2ad0> is not JSON", "<Order object at 0x7fffe120> is not JSON"),
        ("connect to 10.0.0.1:5432 failed", "connect to 192.168.7.20:6543 failed"),
        ("GET https://a.example/x?y=1 failed", "GET http://b.example/ failed"),
        ("mail to ada@example.org bounced", "mail to bob@mail.example.com bounced"),
        ("'ada'", "'bob'"),
        ("no column \"name\" in 'orders'", "no column \"size\" in 'customers'"),
        ("cannot open /srv/a/b.txt", "cannot open /tmp/c"),
        ("at 2026-11-23T02:30:23+00:00: closed", "at 2025-01-01T00:00:00+01:00: closed"),
        ("got {'a': 1, 'b': [2, 3]}", "got {'c': 1}"),
        ("missing [1, 2, 3, 4]", "missing [7]"),
        ("commit abcdefab was lost", "commit 01234567 was lost"),
        ("refused\nrequest 5", "refused\nby peer"),
        ("customer's cart is empty (5 tries)", "customer's cart is empty (6 tries)"),
    ],
)
def test_the_same_error_with_other_values_is_one_group(one: str, other: str) -> None:
    assert fingerprint("ValueError", TRACEBACK, one) == fingerprint("ValueError", TRACEBACK, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("no such customer 5", "no such order 5"),
        ("read timed out", "connect timed out"),
        ("customer's cart is empty", "customer's card is refused"),
        ("", "closed"),
        ("key 'a' is missing", "key 'a' is twice there"),
    ],
)
def test_an_error_in_other_words_is_another_group(one: str, other: str) -> None:
    assert fingerprint("ValueError", TRACEBACK, one) != fingerprint("ValueError", TRACEBACK, other)


def test_neither_lines_nor_folders_split_a_group() -> None:
    moved = TRACEBACK.replace("line 32", "line 33").replace("/srv/app", "/home/ada/app")
    assert fingerprint("ValueError", TRACEBACK, "x") == fingerprint("ValueError", moved, "x")


def test_how_deep_a_recursion_was_splits_no_group() -> None:
    frame = '  File "/srv/app/tree.py", line 3, in walk\n    walk(child)\n'
    assert fingerprint("RecursionError", frame * 3) == fingerprint("RecursionError", frame * 50)


def test_another_type_or_another_path_is_another_group() -> None:
    elsewhere = TRACEBACK.replace("in pay", "in refund")
    prints = {fingerprint("ValueError", TRACEBACK), fingerprint("KeyError", TRACEBACK)}
    assert len(prints | {fingerprint("ValueError", elsewhere)}) == 3


def test_values_in_a_row_are_one() -> None:
    assert wording("got [1, 2, 3] of 'x': 5 and stopped") == "got # of # and stopped"


def test_a_long_line_costs_no_time() -> None:
    assert wording("x" * 1_000_000 + " 5") == "x" * 500


def test_what_no_database_and_no_hash_takes_still_has_a_fingerprint() -> None:
    assert len(fingerprint("ValueError", None, "\ud800")) == 12


def test_both_ways_of_failing_look_at_the_message() -> None:
    one, other = (describe(ValueError(text), {}, None) for text in ("no such customer", "closed"))
    assert one.fingerprint != other.fingerprint
    one, other = (describe_cause(Reason.CRASHED, f"its process died {count} times") for count in (3, 4))
    assert one.fingerprint == other.fingerprint


class Locked(Exception):
    """Holds what nobody can pickle."""


def test_an_exception_that_cannot_be_pickled_keeps_its_name() -> None:
    wrapped = get_pickleable_exception(Locked(threading.Lock()))
    assert isinstance(wrapped, UnpickleableExceptionWrapper)
    failure = describe(wrapped, {"exc_type": "UnpickleableExceptionWrapper"}, None)
    assert failure.type == f"{Locked.__module__}.Locked"
    assert failure.message.startswith("Locked(<unlocked")
    assert failure.exception == {
        "exc_type": "Locked",
        "exc_module": Locked.__module__,
        "exc_message": [failure.message],
    }
