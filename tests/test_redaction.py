"""Redaction: whatever is named like a secret is hidden wherever it is, and nothing else happens."""

import copy
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from penstock import redaction
from penstock.redaction import CUT, HIDDEN, MAX_DEPTH, MAX_TEXT, MAX_VALUES, WORDS, Redaction

OURS = Redaction()
SECRET = "hunter2-4711"

# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["password", "PassWord", "db_password_2", "X-Api-Key", "apiKey", "api_key", "Authorization", "sessionKey"]
)
def test_a_name_that_contains_a_word_is_a_secrets(name: str) -> None:
    assert OURS.is_secret(name)
    assert OURS.value(name, [1, {"a": SECRET}]) == HIDDEN


@pytest.mark.parametrize("name", ["", "pass", "user", "key", "tok en", "monkey"])
def test_another_name_is_none(name: str) -> None:
    assert not OURS.is_secret(name)
    assert OURS.value(name, SECRET) == SECRET


def test_the_words_are_the_deployments() -> None:
    theirs = Redaction(("iban",))
    assert theirs.value(None, {"IBAN": 1, "password": 2}) == {"IBAN": HIDDEN, "password": 2}
    assert Redaction(("", "_")).value("pass_word", SECRET) == SECRET


# -- values -----------------------------------------------------------------------------------------------------------


def test_secrets_are_hidden_at_any_depth_and_the_rest_stays() -> None:
    value = {"user": "ada", "auth": [{"token": SECRET, "n": 1.5, "on": True, "none": None}], "password": None}
    expected = {"user": "ada", "auth": [{"token": HIDDEN, "n": 1.5, "on": True, "none": None}], "password": HIDDEN}
    assert OURS.value(None, value) == expected


def test_what_a_value_says_in_a_text_is_hidden_too() -> None:
    value = {"url": f"postgres://ada:{SECRET}@db/x", "body": json.dumps({"token": SECRET})}
    assert OURS.value(None, value) == {"url": "postgres://ada:***@db/x", "body": '{"token": "***"}'}


def test_positional_arguments_have_the_names_of_their_parameters() -> None:
    args, kwargs = ["ada", SECRET, "more"], {"token": SECRET, "to": "x"}
    assert OURS.call(args, kwargs, ("user", "password")) == (["ada", HIDDEN, "more"], {"token": HIDDEN, "to": "x"})
    assert OURS.call(args, kwargs) == (["ada", SECRET, "more"], {"token": HIDDEN, "to": "x"})
    assert OURS.call([], {}, ("user", "password")) == ([], {})
    assert OURS.call(None, "text") == (None, "text")


class Awkward(dict[str, Any]):
    """A mapping that cannot be looked at."""

    def items(self) -> Any:
        raise RuntimeError("no")


class Strange:
    def __str__(self) -> str:
        raise RuntimeError(SECRET)

    __repr__ = __str__


def test_what_is_no_json_is_told_by_its_type() -> None:
    assert OURS.value(None, [Strange(), b"token", {1}, 1j]) == ["<Strange>", "<bytes>", "<set>", "<complex>"]


def test_what_cannot_be_looked_at_is_hidden() -> None:
    assert OURS.value(None, [Awkward(a=1)]) == HIDDEN
    assert OURS.value(None, {Strange(): 1}) == HIDDEN
    assert OURS.call([Awkward(a=1)], {"a": 1}) == (HIDDEN, {"a": 1})


def test_a_value_that_contains_itself_has_an_end() -> None:
    value: list[Any] = []
    value.append(value)
    shown = json.dumps(OURS.value(None, value))
    assert shown == "[" * MAX_DEPTH + f'"{json.dumps(CUT)[1:-1]}"' + "]" * MAX_DEPTH


@pytest.mark.parametrize("value", [list(range(MAX_VALUES * 3)), {str(n): [n] for n in range(MAX_VALUES * 2)}])
def test_a_large_value_is_cut_and_says_so(value: Any) -> None:
    shown = OURS.value(None, value)
    assert len(json.dumps(shown)) < len(json.dumps(value))
    assert (shown[-1] if isinstance(shown, list) else shown[CUT]) == CUT
    assert OURS.value(None, shown) == shown


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
CASES = st.sampled_from([str.lower, str.upper, str.title, str.capitalize])
NAMES = st.builds(
    lambda before, word, after, case: f"{before}{case(word)}{after}",
    st.text(max_size=5),
    st.sampled_from(WORDS),
    st.text(max_size=5),
    CASES,
)
SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=6, max_size=20).map("%{}%".format)


@st.composite
def secretive(draw: Any) -> tuple[Any, str]:
    """A value with a secret under a listed name somewhere in it."""
    secret = draw(SECRETS)
    value = {draw(NAMES): draw(st.sampled_from([secret, [secret], {"a": secret}, [[{"b": [secret]}]]]))}
    for _ in range(draw(st.integers(0, 4))):
        value = draw(st.sampled_from([[value, 1], {"x": value, "y": "z"}, [draw(VALUES), value]]))
    return value, secret


def strings(value: Any) -> list[str]:
    """All texts in a value, keys among them."""
    if isinstance(value, dict):
        return [text for pair in value.items() for each in pair for text in strings(each)]
    if isinstance(value, list):
        return [text for each in value for text in strings(each)]
    return [value] if isinstance(value, str) else []


@given(secretive())
def test_no_secret_survives_in_a_value_nor_in_its_json(given: tuple[Any, str]) -> None:
    value, secret = given
    shown = OURS.value(None, value)
    assert not any(secret in text for text in strings(shown))
    assert secret not in json.dumps(shown, ensure_ascii=False)


@given(VALUES)
def test_a_value_is_not_changed_and_a_second_time_changes_nothing(value: Any) -> None:
    before = copy.deepcopy(value)
    shown = OURS.value(None, value)
    assert value == before
    assert OURS.value(None, shown) == shown


# -- texts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("password=x", "password=***"),
        ("login(user='ada', password='x y')", "login(user='ada', password='***')"),
        ('{"a": 1, "Password": "x \\" y", "b": 2}', '{"a": 1, "Password": "***", "b": 2}'),
        ('{"token": ["x", {"y": "]"}], "b": 2}', '{"token": ***, "b": 2}'),
        ('{"a": {"token": 5}}', '{"a": {"token": ***}}'),
        ('\'{\\"token\\": \\"x\\\\\\"y\\", \\"b\\": 2}\'', '\'{\\"token\\": \\"***\\", \\"b\\": 2}\''),
        ("{'api_key': b'x', 'n': 1}", "{'api_key': b'***', 'n': 1}"),
        ("Authorization: Bearer x.y.z\nHost: a", "Authorization: ***\nHost: a"),
        ("Cookie: a=x; b=y\nHost: a", "Cookie: ***\nHost: a"),
        ("https://h/?a=1&access_token=x&b=2", "https://h/?a=1&access_token=***&b=2"),
        ("headers['X-Api-Key'] = 'x'", "headers['X-Api-Key'] = '***'"),
        ('    password: str = "x"', '    password: *** = "***"'),
        ('if password == "x":', 'if password == "***":'),
        ('token = """x"y"""\nb', 'token = """***"""\nb'),
        ('secret="never closed, b', 'secret="***'),
        ("redis://:x@host:6379/0", "redis://:***@host:6379/0"),
        ("postgres://ada:p:a@s@host/x and a@b", "postgres://ada:***@host/x and a@b"),
        ("http://host:80/path?mail=a@b", "http://host:80/path?mail=a@b"),
        ("the token was refused", "the token was refused"),
        ("no password given", "no password given"),
        ("", ""),
    ],
)
def test_a_text_is_without_what_it_names_like_a_secret(text: str, shown: str) -> None:
    assert OURS.text(text) == shown
    assert OURS.text(shown) == shown


WRITTEN = (
    "{name}={secret}",
    "{name}={secret}, and more",
    '{name}="{secret}"',
    "{name} = '{secret}'",
    '"{name}": "{secret}"',
    "{{'{name}': '{secret}', 'a': 1}}",
    '{name}: ["{secret}"]',
    "mongodb+srv://user:{secret}@host/x",
)
WORDLY = st.text("abcXYZ019.:/!$%^*+~|<-_", min_size=6, max_size=20).map("%{}%".format)


@given(
    form=st.sampled_from(WRITTEN),
    word=st.sampled_from(WORDS),
    case=CASES,
    secret=WORDLY,
    before=st.text(max_size=20),
    after=st.text(max_size=20),
)
def test_no_secret_survives_in_a_text(form: str, word: str, case: Any, secret: str, before: str, after: str) -> None:
    if "://" in form:
        secret = secret.replace("/", "a")
    text = f"{before} {form.format(name=case(word), secret=secret)} {after}"
    assert secret not in OURS.text(text)


PIECES = st.sampled_from(
    [
        *" =:\"'\\()[]{},;&\n@a/?",
        "token",
        "Password",
        "==",
        '"""',
        "://",
        "x=",
        "Bearer ",
        "basic ",
        "=>",
        "!=",
        "b'",
        HIDDEN,
        CUT,
    ]
)


@hypothesis_settings(max_examples=500)
@given(st.lists(PIECES, max_size=30).map("".join), st.integers(5, 60))
def test_a_second_time_changes_nothing_of_a_text(text: str, most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redaction, "MAX_TEXT", most)
        shown = OURS.text(text)
        assert OURS.text(shown) == shown
        assert len(shown) <= most + 200


def test_a_long_text_is_cut_and_says_so() -> None:
    shown = OURS.text("x" * 3 * MAX_TEXT)
    assert shown == "x" * MAX_TEXT + CUT


@pytest.mark.parametrize(
    "piece",
    [
        "token",
        "token:",
        "token=(",
        "token='",
        'token="\\"',
        "://a:",
        "://a:b",
        'token: ["',
        '\\"',
        "a",
        "=",
        "token ",
        "api_",
    ],
)
def test_no_text_takes_long(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    began = time.process_time()
    OURS.text(text)
    assert time.process_time() - began < 3
