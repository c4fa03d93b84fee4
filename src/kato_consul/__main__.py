"""``python -m kato_consul``: the command line."""

from kato_consul.cli import main

if __name__ == "__main__":
    main()
