"""The addresses of our pages."""

from __future__ import annotations

from penstock.flower.page import Page
from penstock.flower.pages.audit import AuditPage
from penstock.flower.pages.errand import ErrandPage
from penstock.flower.pages.failure import FailurePage
from penstock.flower.pages.failures import FailuresPage
from penstock.flower.pages.history import HistoryPage
from penstock.flower.pages.job import JobPage
from penstock.flower.pages.processes import ProcessesPage, WorkerProcessesPage
from penstock.flower.pages.queue import QueuePage
from penstock.flower.pages.queues import QueuesPage
from penstock.flower.pages.schedule import SchedulePage
from penstock.flower.pages.schedules import SchedulesPage, UnfiredPage

ROUTES: tuple[tuple[str, type[Page], str], ...] = (
    (r"/history", HistoryPage, "history"),
    (r"/job/(.+)", JobPage, "job"),
    (r"/failures", FailuresPage, "failures"),
    (r"/failures/(.+)", FailurePage, "failure"),
    (r"/queues", QueuesPage, "queues"),
    (r"/queues/(.+)", QueuePage, "queue"),
    (r"/schedules", SchedulesPage, "schedules"),
    (r"/schedules/(.+)", SchedulePage, "schedule"),
    (r"/unfired/(\w+)", UnfiredPage, "unfired"),
    (r"/processes", ProcessesPage, "processes"),
    (r"/processes/([^/]+)", WorkerProcessesPage, "worker-processes"),
    (r"/audit", AuditPage, "audit"),
    (r"/errand/([\w-]+)", ErrandPage, "errand"),
)
"""Pattern, page and name of each; a page is named to be linked to."""
