"""The shop's books: a line for each thing that was done."""

import os
from pathlib import Path


def note(what, order):
    with Path(os.environ["SHOP_BOOKS"]).open("a") as books:
        books.write(f"{what} {order}\n")
