"""Failures for machines: plain values, times and enumerations left to whoever writes the JSON."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from penstock.ledger.failure_groups import FailureGroup
from penstock.operations.failures.groups import Group, trend_of
from penstock.operations.jobs.as_json import job_as_json


def group_as_json(group: FailureGroup, since: datetime) -> dict[str, Any]:
    """Every column, and the trend."""
    hours = {hour.isoformat(): count for hour, count in sorted(group.hours.items())}
    return {**asdict(group), "hours": hours, "trend": trend_of(group, since)}


def opened_as_json(opened: Group) -> dict[str, Any]:
    """The groups by task, the latest jobs with every column, and what can be done."""
    return {
        "groups": [group_as_json(group, opened.since) for group in opened.groups],
        "since": opened.since,
        "jobs": [job_as_json(job) for job in opened.latest],
        "commands": opened.commands,
    }
