"""The command line ``kato-consul``. Nothing imports this room."""

import sys


def main() -> None:
    """The entry point of ``kato-consul``."""
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ImportError as error:
        sys.stderr.write(f"the command line needs {error.name}: pip install 'kato-consul[cli]'\n")
        raise SystemExit(2) from None
    from kato_consul.cli.app import app

    # Named here, or `python -m kato_consul` would call itself that in its help.
    app(prog_name="kato-consul")
