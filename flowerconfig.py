"""Flower's options of this deployment: on loopback and behind a password, unless FLOWER_* variables say otherwise.

What Flower shows is live and gone with it; the ledger keeps the history.
"""

import sys as _sys

from penstock.config import Settings as _Settings
from penstock.errors import PenstockError as _PenstockError
from penstock.flower import Access as _Access

try:
    _access = _Access.load(_Settings.load())
except _PenstockError as _error:
    _sys.exit(f"penstock: {_error}")

address = _access.address
port = _access.port
basic_auth = list(_access.basic_auth)

# No option of Flower's: `make up` says where the password is.
credentials_file = _access.credentials
