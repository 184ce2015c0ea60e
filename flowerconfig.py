"""Flower's options of this deployment: on loopback and behind a password, unless FLOWER_* variables say otherwise.

What Flower's own pages show is live and gone with it; those that we add show what the ledger keeps.
"""

from penstock.flower.start import prepare as _prepare

_access = _prepare()

address = _access.address
port = _access.port
basic_auth = list(_access.basic_auth)

# No option of Flower's: `make up` says where the password is.
credentials_file = _access.credentials
