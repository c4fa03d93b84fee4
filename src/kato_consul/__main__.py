"""``python -m kato_consul``: the same as ``kato-consul``."""

from kato_consul.cli import main

if __name__ == "__main__":
    main()
