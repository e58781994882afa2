"""`python -m tastemap` is the command `tastemap`."""

from tastemap.cli import main

if __name__ == "__main__":
    main()
