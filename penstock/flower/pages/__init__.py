"""Flower's pages that read the ledger, one module each."""
