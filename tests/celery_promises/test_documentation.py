"""The page about compatibility says what these tests declare"""

from pathlib import Path

from tests.celery_promises import generate
from tests.celery_promises.engines import ENGINES

HERE = Path(__file__).parent


def test_the_page_is_up_to_date() -> None:
    assert generate.PAGE.read_text() == generate.page(), "run python -m tests.celery_promises.generate"


def test_every_module_is_on_the_page() -> None:
    about_ourselves = {"documentation", "engines"}
    modules = {path.stem.removeprefix("test_") for path in HERE.glob("test_*.py")} - about_ourselves
    assert modules == set(generate.ORDER)


def test_every_promise_is_a_sentence_of_its_own() -> None:
    texts = [promise.text for chapter in generate.chapters() for promise in chapter.promises]
    assert all(text.endswith(".") for text in texts)
    assert len(set(texts)) == len(texts)


def test_every_difference_is_of_an_engine_and_has_a_reason() -> None:
    names = {engine.name for engine in ENGINES}
    for chapter in generate.chapters():
        for promise in chapter.promises:
            assert set(promise.differences) <= names
            assert all(len(reason) > 10 for reason in promise.differences.values())
