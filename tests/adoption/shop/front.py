"""The shop's web front, in place of one: `python -m shop.front place 1 2 3` places these orders.

`place … --wait` prints what became of each. `remind SECONDS ORDER …` asks for a mail later, `pack FILE ORDER …` for a
parcel that takes until that file is there.
"""

import sys

from shop import mail, orders


def main(verb, *words):
    if verb == "remind":
        seconds, *names = words
        for name in names:
            mail.remind.apply_async((name,), countdown=float(seconds))
    elif verb == "pack":
        until, *names = words
        for name in names:
            orders.pack.delay(name, until)
    else:
        names = [word for word in words if word != "--wait"]
        results = [orders.place(name, [100, 250]) for name in names]
        if "--wait" in words:
            for result in results:
                print(result.get(timeout=30))


if __name__ == "__main__":
    main(*sys.argv[1:])
