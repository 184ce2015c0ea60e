"""Fetching pages: coroutines, hundreds at a time in one child of the profile ``fetch``."""

from __future__ import annotations

import hashlib
from typing import Any

from penstock import Retry, task
from tasks.config import TaskSettings
from tasks.egress import Unreachable
from tasks.webhooks import UnexpectedStatus

TOO_MANY = 429


class PageDelayed(Exception):
    """The server asks for patience (429) or is in trouble (5xx); the job tries again."""


@task(queue="pages", timeout=60, retry=Retry(attempts=5, base=1, cap=60, on=(PageDelayed, Unreachable)))
async def fetch(url: str) -> dict[str, Any]:
    """GETs a page, and says what came.

    Returns:
        ``status``, ``bytes`` of the body (at most 1 MiB is read; ``cut`` says whether it went on), its ``sha256``, by
        which a change is seen, ``elapsed_ms`` and ``url`` after redirects.

    Raises:
        EgressRefused: the URL, or one that it redirects to, may not be requested.
        PageDelayed, Unreachable: worth another attempt.
        UnexpectedStatus: it answered with another status than 2xx.
    """
    from tasks import http_in_loop  # With asyncio, which a producer may do without.

    settings = TaskSettings.load()
    answer = await http_in_loop.fetch(url, settings.egress_allow)
    if answer.status == TOO_MANY or answer.status >= 500:
        raise PageDelayed(f"{answer.url} answered {answer.status}")
    if not 200 <= answer.status < 300:
        raise UnexpectedStatus(f"{answer.url} answered {answer.status}, and 2xx was expected")
    return {
        "status": answer.status,
        "bytes": len(answer.body),
        "cut": answer.is_cut,
        "sha256": hashlib.sha256(answer.body).hexdigest(),
        "elapsed_ms": round(answer.elapsed * 1000),
        "url": answer.url,
    }
