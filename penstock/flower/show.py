"""How values look on a page. Each function gives HTML with everything escaped that is not its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from tornado.escape import xhtml_escape

from penstock.operations.wording import error_in_short, short_id
from penstock.redaction import Redaction
from penstock.wording import distance, duration, printable

MISSING = '<span class="value-missing">—</span>'
SHOWN_CHARACTERS = 20_000
ID_CHARACTERS = 40


class Show:
    """For one page.

    Args:
        zone: in which times are shown.
        redaction: takes secrets out of what jobs hold.
    """

    def __init__(self, zone: str, redaction: Redaction) -> None:
        self.zone = zone
        self.now = datetime.now(UTC)
        self._zone = ZoneInfo(zone)
        self._redaction = redaction

    def when(self, moment: datetime | None) -> str:
        """A time as seen from now; the whole of it when pointed at."""
        if moment is None:
            return MISSING
        return (
            f'<time datetime="{moment.isoformat()}" title="{self.moment(moment)}">{distance(moment, self.now)}</time>'
        )

    def moment(self, moment: datetime | None, *, milliseconds: bool = False) -> str:
        """A time in full, with its offset, so that the repeated hour of autumn is told apart."""
        if moment is None:
            return MISSING
        local = moment.astimezone(self._zone)
        fraction = f".{local.microsecond // 1000:03d}" if milliseconds else ""
        return f"{local:%Y-%m-%d %H:%M:%S}{fraction} {local:%z}"

    def clock(self, moment: datetime) -> str:
        """The time of day, to the millisecond."""
        local = moment.astimezone(self._zone)
        return f"{local:%H:%M:%S}.{local.microsecond // 1000:03d}"

    def length(self, seconds: float | None) -> str:
        """A length of time: 4ms, 1.25s, 2h 10m."""
        return MISSING if seconds is None else duration(seconds)

    def count(self, number: float | None) -> str:
        """1,204."""
        return MISSING if number is None else f"{number:,.0f}" if number == int(number) else f"{number:,.2f}"

    def rate(self, per_second: float | None) -> str:
        """So many a second, or a minute where that says more."""
        if per_second is None:
            return MISSING
        return f"{per_second:,.3g}/s" if per_second >= 1 or not per_second else f"{per_second * 60:,.3g}/min"

    def text(self, value: object) -> str:
        """Somebody else's words, without what would turn or hide them."""
        return MISSING if value in (None, "") else xhtml_escape(printable(str(value)))

    def words(self, text: str) -> str:
        """Our own words, in which commands stand between backticks."""
        parts = [self.text(part) if part else "" for part in text.split("`")]
        return "".join(f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(parts))

    @staticmethod
    def id(id: str) -> str:
        """An id, short: a long one that somebody has chosen would take the width of its table."""
        short = printable(short_id(id))
        return xhtml_escape(short if len(short) <= ID_CHARACTERS else f"{short[: ID_CHARACTERS - 1]}…")

    def state(self, state: object, reason: object = None) -> str:
        """A state as a badge (a class for it is in the style sheet), and why it is so."""
        word = xhtml_escape(str(state))
        why = f' <span class="state-reason">{xhtml_escape(str(reason))}</span>' if reason else ""
        return f'<span class="state state-{word.replace(" ", "-")}">{word}</span>{why}'

    def error(self, row: Any) -> str:
        """Type and message of a job's error in one line, without secrets."""
        return self.text(self._redaction.text(error_in_short(row)))

    def secretless(self, text: str | None) -> str:
        """A longer text that may hold secrets: a traceback, a message."""
        return self.text(self._redaction.text(text)[-SHOWN_CHARACTERS:]) if text else MISSING

    def json(self, value: object, name: str | None = None) -> str:
        """A value as JSON over several lines, without secrets.

        Args:
            name: under which the value was given, if it had one.
        """
        shown = json.dumps(self._redaction.value(name, value), indent=2, ensure_ascii=False, default=str)
        cut = f"\n… cut: {len(shown):,} characters" if len(shown) > SHOWN_CHARACTERS else ""
        return xhtml_escape(printable(shown[:SHOWN_CHARACTERS]) + cut)

    def choices(self, values: Sequence[str], chosen: str, *, everything: str) -> str:
        """The options of a select."""
        options = [f'<option value="">{xhtml_escape(everything)}</option>']
        for value in dict.fromkeys([*values, *([chosen] if chosen else [])]):
            mark = " selected" if value == chosen else ""
            word = xhtml_escape(printable(value))
            options.append(f'<option value="{word}"{mark}>{word}</option>')
        return "".join(options)
