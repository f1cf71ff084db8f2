"""`python -m tickerlake` is the same as `tickerlake`."""

from tickerlake.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
