"""Guards of Flower: who may do what there, from where, what is told of it, and which secrets are not shown."""

from tests.mutants.guard import Guard

GUARD, SITE, PAGE = "penstock/flower/guard.py", "penstock/flower/site.py", "penstock/flower/page.py"
ON_ROLES, ON_GUARD = "tests/flower/live/test_roles.py", "tests/flower/live/test_guard.py"
ON_SECRETS, ON_ACTIONS = "tests/flower/live/test_secrets.py", "tests/flower/live/test_actions.py"
STARTS = "TimeoutExpired"
"""A Flower that has to refuse to start serves until its test gives up."""

GUARDS = (
    Guard(
        name="flowers-actions-ask-for-a-role",
        file=GUARD,
        text="            self.require(self.needed_role())\n",
        replacement="",
        test=f"{ON_ROLES}::test_roles_are_given_by_pattern_and_by_name",
        why="Whoever may look at Flower ends workers with its API.",
    ),
    Guard(
        name="deeds-ask-for-a-role",
        file=PAGE,
        text="        self.require(deed.role)\n",
        replacement="",
        test=f"{ON_ROLES}::test_a_page_of_ours_serves_only_who_may[history-vera]",
        why="A viewer retries, cancels and discards jobs.",
    ),
    Guard(
        name="any-task-is-run-only-where-that-is-switched-on",
        file=GUARD,
        text="            if runs_any_task(path) and not self.application.roles.may_run_tasks:\n",
        replacement="            if False:\n",
        test=f"{ON_ROLES}::test_a_route_of_flower_serves_only_who_may[/api/task/apply/(.+)-ada]",
        why="A stolen password of an admin runs any code that is a task, with any arguments.",
    ),
    Guard(
        name="deeds-carry-their-forms-token",
        file=PAGE,
        text="        RequestHandler.check_xsrf_cookie(self)\n",
        replacement="",
        test=f"{ON_GUARD}::test_a_forged_deed_does_nothing[no token]",
        why="A request that no form of ours has sent retries and discards jobs with somebody's password.",
    ),
    Guard(
        name="actions-come-from-our-own-pages",
        file=GUARD,
        text="        if origin and not is_vouched_for and _host_of(origin) != self.request.host.lower():\n",
        replacement="        if False:\n",
        test=f"{ON_GUARD}::test_without_a_password_a_page_elsewhere_does_nothing",
        why="Any page on the web ends the workers of a developer who looks at it.",
    ),
    Guard(
        name="without-a-password-flower-is-asked-as-localhost",
        file=GUARD,
        text="        if not self.application.asks_who and not is_loopback(_name_of_host(self.request.host)):\n",
        replacement="        if False:\n",
        test=f"{ON_GUARD}::test_without_a_password_it_is_on_loopback_and_asked_by_its_name_there",
        why="A page whose name is made to resolve to loopback reads every job.",
    ),
    Guard(
        name="without-a-password-flower-is-on-loopback",
        file=SITE,
        text="            if not is_loopback(address):\n",
        replacement="            if False:\n",
        test=f"{ON_GUARD}::test_nobody_outside_is_served_without_a_password[0.0.0.0]",
        why="Everybody in the network sees every job and ends workers.",
        red=STARTS,
    ),
    Guard(
        name="an-empty-password-is-none",
        file=SITE,
        text='        if not all(all(each.partition(":")) for each in self.options.basic_auth or ()):\n',
        replacement="        if False:\n",
        test=f"{ON_GUARD}::test_a_password_that_is_empty_is_none",
        why="With an empty --basic_auth, Flower lets everybody in who sends an empty password, from everywhere.",
        red=STARTS,
    ),
    Guard(
        name="events-are-kept-without-secrets",
        file="penstock/flower/sampling.py",
        text="        self._masking.event(event)\n",
        replacement="",
        test=f"{ON_SECRETS}::test_events_are_kept_without_secrets",
        why="Flower's live pages show the passwords that jobs are given.",
    ),
    Guard(
        name="workers-reports-are-kept-without-secrets",
        file=SITE,
        text="        mask_reports(self.inspector, self.masking)\n",
        replacement="",
        test=f"{ON_SECRETS}::test_what_a_worker_tells_of_its_jobs_is_without_secrets",
        why="Flower's page of a worker shows the passwords of the jobs that it runs.",
    ),
    Guard(
        name="results-are-answered-without-secrets",
        file=GUARD,
        text='    masked = (MaskedResult,) if hasattr(handler, "update_response_result") else ()\n',
        replacement="    masked = ()\n",
        test=f"{ON_SECRETS}::test_a_result_is_answered_without_its_secrets",
        why="Flower's API gives the tokens in results to whoever may look on.",
    ),
    Guard(
        name="flowers-actions-are-in-the-audit",
        file=GUARD,
        text="            self.application.executor.submit(note, self.application.capp, action)\n",
        replacement="            pass\n",
        test=f"{ON_ACTIONS}::test_a_revoked_job_has_it_in_its_own_audit",
        why="Nobody can tell who has ended a worker or revoked a job from Flower's own pages.",
    ),
)
