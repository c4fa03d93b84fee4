"""The page with a server's metrics, as Prometheus reads it."""

import re
import urllib.request


def page(port: int) -> str:
    """Return the page."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as response:
        text: str = response.read().decode()
    return text


def number(port: int, series: str) -> float:
    """Return the value of a series, 0 if there is none."""
    found = re.search(rf"^{re.escape(series)} ([0-9.e+-]+)$", page(port), re.MULTILINE)
    return float(found[1]) if found else 0.0
