"""`python -m cueapi` is `cueapid`."""

from cueapi.cli import main

if __name__ == "__main__":
    main()
