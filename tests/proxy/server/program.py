"""A server as a process: ``python -m tests.proxy.server.program JSON``."""

import json
import os
import sys
from pathlib import Path
from typing import Any

if os.environ.get("TEST_LOOP") == "asyncio":
    sys.modules["uvloop"] = None  # type: ignore[assignment]  # also in the workers

from kato_consul import KatoConsulError, Settings
from kato_consul.proxy import ServerOptions, serve
from kato_consul.proxy.server.identity import Identity
from tests.proxy.server import application

if "TEST_IDENTITY" in os.environ:
    SAID = os.environ["TEST_IDENTITY"].encode()
    Identity.encode = lambda _: SAID  # type: ignore[assignment, method-assign]

PATHS = ("api_keys", "tls_cert", "tls_key", "client_ca")


def report_ready(predecessor: int | None) -> None:
    """Print that it serves, and whose sockets it has taken over."""
    sys.stdout.write("ready\n" if predecessor is None else f"ready {predecessor}\n")
    sys.stdout.flush()


def main() -> None:
    """Serve with the options, the settings and the application that the argument has."""
    given = json.loads(sys.argv[1])
    texts = given["options"]
    paths: dict[str, Any] = {name: Path(texts[name]) for name in PATHS if name in texts}
    options = ServerOptions(**{**texts, **paths})
    settings = Settings(trust_env=False, **given["settings"])
    factory = getattr(application, given["application"])
    try:
        cut = serve(factory, options, settings, report_ready)
    except KatoConsulError as error:
        sys.stdout.write(f"{type(error).__name__}: {error}\n")
        raise SystemExit(2) from None
    sys.stdout.write(f"cut {cut}\n")


if __name__ == "__main__":
    main()
