"""Flower's options of this deployment: on loopback and behind a password, unless FLOWER_* variables say otherwise.

What Flower shows is live and gone with it; the ledger keeps the history.
"""

import sys as _sys

from penstock.checks import require_servers as _require_servers
from penstock.config import Settings as _Settings
from penstock.errors import PenstockError as _PenstockError
from penstock.flower import Access as _Access

try:
    _settings = _Settings.load()
    _access = _Access.load(_settings)
    # Flower itself would start without them, and show an empty system.
    _require_servers(_settings)
except _PenstockError as _error:
    _sys.exit(f"penstock: {_error}")

address = _access.address
port = _access.port
basic_auth = list(_access.basic_auth)

# No option of Flower's: `make up` says where the password is.
credentials_file = _access.credentials
