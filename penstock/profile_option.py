"""``--profile NAME`` of ``celery worker``: a profile fills in what the command line leaves open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import click

from penstock.profile import Profile


class ProfileOption(click.Option):
    """Read before all others, whose defaults it then sets: what is given on the command line wins."""

    help_group = "Worker Options"  # under which Celery's help lists it

    def __init__(self, profiles: Iterable[Profile]) -> None:
        self._profiles = {profile.name: profile for profile in profiles}
        super().__init__(
            ["--profile"],
            metavar="NAME",
            is_eager=True,
            expose_value=False,
            help="Queues, node name, number of children and limits of a profile in workers/profiles.py, for whatever "
            f"is not given here: {self._known}.",
        )

    def handle_parse_result(
        self, ctx: click.Context, opts: Mapping[str, Any], args: list[str]
    ) -> tuple[Any, list[str]]:
        """Called by click, for eager options first; ``opts`` is what the command line gives."""
        name, args = super().handle_parse_result(ctx, opts, args)
        if isinstance(name, str):
            defaults = worker_options(self._named(name))
            if "concurrency" in opts:
                defaults.pop("autoscale", None)  # Which Celery would follow instead.
            ctx.default_map = {**(ctx.default_map or {}), **defaults}
            choose_kind(ctx.obj.app, self._named(name))
        return name, args

    @property
    def _known(self) -> str:
        return ", ".join(self._profiles) or "none is declared"

    def _named(self, name: str) -> Profile:
        if name not in self._profiles:
            raise click.ClickException(f"there is no profile {name!r}; known: {self._known}")
        return self._profiles[name]


def choose_kind(app: Any, profile: Profile) -> None:
    """Has a worker of this app have children of the profile's kind; for those Celery's worker has no option."""
    app.conf.penstock_kind, app.conf.penstock_size = profile.kind, profile.size


def worker_options(profile: Profile) -> dict[str, Any]:
    """The options of ``celery worker`` that make a worker of this profile, as a person would write them."""
    options = {
        "hostname": f"{profile.name}@%h",
        "queues": ",".join(profile.queues),
        "concurrency": str(profile.children),
        "autoscale": profile.autoscale_to and f"{profile.autoscale_to},{profile.children}",
        "time_limit": profile.time_limit,
        "soft_time_limit": profile.soft_time_limit,
        "max_tasks_per_child": profile.max_tasks_per_child,
        "max_memory_per_child": profile.max_mib_per_child and profile.max_mib_per_child * 1024,
    }
    return {name: value for name, value in options.items() if value is not None}
