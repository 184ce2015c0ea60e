"""The whole system, bounded and scripted: real jobs, real failures, and a reconciliation of every single one.

`plan.py` what is submitted and how each must end · `site.py` the local site and the webhook receiver · `stage.py` the
system's processes · `accounts.py` the files with what was accepted and what took effect · `reconcile.py` those files
against the ledger · `progress.py` what a person sees meanwhile · `pictures.py` Flower's pages.
"""
