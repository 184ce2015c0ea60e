"""What the conformance suite of the recording shares: one ledger for each module, once on each database, whose jobs
have ids and queues of their own.
"""

import uuid
from collections.abc import Iterator

import pytest

from tests.conftest import DATABASES, NewLedger
from tests.ledger.recording.job import Job


@pytest.fixture(scope="module", params=DATABASES)
def database_url(request: pytest.FixtureRequest, new_ledger: NewLedger) -> Iterator[str]:
    """A ledger that other tests of the module use as well."""
    with new_ledger(request.param) as url:
        yield url


@pytest.fixture
def job(database_url: str) -> Job:
    """A job that the ledger has not heard of."""
    return Job(database_url, uuid.uuid4().hex)
