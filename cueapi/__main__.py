"""`python -m cueapi` is `cueapid`."""

from cueapi.cli.main import main

if __name__ == "__main__":
    main()
