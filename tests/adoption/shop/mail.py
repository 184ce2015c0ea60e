"""Mails to customers."""

from celery import shared_task

from shop.books import note


@shared_task
def confirm(order):
    note("confirmed", order)


@shared_task
def remind(order):
    note("reminded", order)
