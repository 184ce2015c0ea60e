"""One deployment for each module: a Redis of its own, whose memory may be taken away, and a ledger."""

from collections.abc import Iterator

import pytest

from tests.conftest import NewLedger, deployment, producer
from tests.servers import running
from tests.why.ground import LEASE_SECONDS, Ground


@pytest.fixture(scope="module")
def ground(new_ledger: NewLedger, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Without a worker."""
    folder = tmp_path_factory.mktemp("why")
    with running("valkey", tcp=True) as server, new_ledger("sqlite") as url:
        variables = deployment(f"redis://127.0.0.1:{server.port}/0", url, folder)
        variables |= {"PENSTOCK_LEASE_SECONDS": str(LEASE_SECONDS), "PENSTOCK_CRASH_LIMIT": "1"}
        with producer(variables) as app:
            yield Ground(app, folder, variables)
