"""`python -m netgain` is the command line."""

from netgain.cli import main

if __name__ == "__main__":
    main()
