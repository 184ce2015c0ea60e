"""The `celery` command with its plug-ins, in a file, which a worker can start again on SIGHUP."""

from celery.__main__ import main

if __name__ == "__main__":
    main()
