"""Tasks that say what they are told to say, wherever a task can say anything."""

from __future__ import annotations

from penstock import task

PAYLOADS = {
    "a script": "<script>window.harm()</script>",
    "an image": "\"'><img src=x onerror=window.harm()>",
    "an attribute": 'x" onmouseover="window.harm()" autofocus onfocus="window.harm()',
    "an address": "javascript:window.harm()",
    "a template": "{{ 7919 * 1299709 }}{% raw 7919 * 1299709 %}${7919*1299709}",
    "a format": "%(harm)s %s %d %n {0.__class__} {harm}",
    "a header": "x\r\nSet-Cookie: harm=1\r\n\r\n<script>window.harm()</script>",
    "an encoded header": "%0d%0aSet-Cookie:%20harm=1",
    "a statement": "' OR 1=1; DROP TABLE jobs; --",
    "a pattern": "%_\\*?[a-z]((((",
    "an end": "harm\x00ful",
    "half a character": "harm\ud800ful",
    "a turn": "harm\u202etxt.exe\u202c",
    "the end of a script": "</script></textarea></title><svg onload=window.harm()>",
    "a lot": "<b>" + "much " * 200_000,
}


@task(queue="default")
def repeat(text: str) -> dict[str, str]:
    """Succeeds with it."""
    return {text: text}


@task(queue="default")
def shout(text: str) -> None:
    """Fails with it, in the message, in the traceback and in the type."""
    raise type(text[:40].replace("\x00", "") or "Error", (Exception,), {})(text)
