"""Caller that knows nothing but KATO's API: `requests` with kept connections, without retries.

python requests_session.py URL NODE COUNT PAUSE TIMEOUT

tests/callers/running.py describes what it does and prints.
"""

import json
import sys
import time
from typing import Any

import requests


def request(what: dict[str, str], method: str, url: str, body: Any = None) -> Any:
    """Send a request, print its record, and return the body of a 200; None if it failed."""
    began = time.time()
    status, error, answer = 0, "", None
    try:
        response = HTTP.request(method, url, json=body, timeout=TIMEOUT)
        status = response.status_code
        answer = response.json() if status == 200 else None
    except requests.RequestException as exception:
        error = type(exception).__name__
    record = {"what": what, "began": began, "ended": time.time(), "status": status}
    print(json.dumps({**record, "error": error, "body": answer}), flush=True)  # noqa: T201
    return answer


def main() -> None:
    """Open a session, observe, and read the memory."""
    opened = None
    while opened is None:
        body = {"node_id": NODE, "config": {"process_predictions": False}}
        opened = request({"open": NODE}, "POST", f"{URL}/sessions", body)
        time.sleep(PAUSE)
    session = opened["session_id"]
    for number in range(COUNT):
        symbol = f"{NODE}-{number}"
        url = f"{URL}/sessions/{session}/observe"
        request({"observe": symbol}, "POST", url, {"strings": [symbol]})
        time.sleep(PAUSE)
    request({"read": session}, "GET", f"{URL}/sessions/{session}/stm")


if __name__ == "__main__":
    URL, NODE, COUNT = sys.argv[1], sys.argv[2], int(sys.argv[3])
    PAUSE, TIMEOUT = float(sys.argv[4]), float(sys.argv[5])
    HTTP = requests.Session()
    HTTP.trust_env = False  # no proxy of the environment
    main()
