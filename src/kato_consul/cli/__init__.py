"""The command line ``kato-consul``. No other room imports this one."""

import sys

from kato_consul.cli.output import PROGRAM, print_version


def main() -> None:
    """Run ``kato-consul`` with the arguments of this process."""
    if sys.argv[1:] == ["--version"]:  # without typer, which takes longer to import than all else
        print_version()
        return
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ImportError as error:
        sys.stderr.write(f"the command line needs {error.name}: pip install 'kato-consul[cli]'\n")
        raise SystemExit(2) from None
    from kato_consul.cli.app import app

    # The name is given, because `python -m kato_consul` would show its own in the help.
    app(prog_name=PROGRAM)
