"""Why a job does not run: every reason for which the system can hold a job back, as a sentence and the facts behind it.

To add a reason: write a function that takes a :class:`~penstock.why.subject.Subject` and returns a
:class:`~penstock.why.reason.Reason`, or None where it does not hold, and name it in ``EXPLAINERS`` of
:mod:`penstock.why.explaining`.
"""
