"""Flask service that uses KATO, as one would put it into production.

    kato-consul dev
    CONSUL_HTTP_ADDR=127.0.0.1:PORT gunicorn --preload --workers 4 --threads 8 \\
        examples.flask_service:app
    curl localhost:8000/visits/ann -H 'Idempotency-Key: 7f3c' --json '{"product": "tent"}'

The next request of a user may reach any worker, pod or machine: the workers share their sessions
through a session directory, which is in Consul. KATO_CONSUL_SESSION_DIRECTORY=redis://HOST:6379/0
puts it in Redis instead. docs/sessions.md explains it; docs/web-services.md has more on workers,
errors, deploys and readiness.
"""

import atexit
import os
import socket
from typing import Any

from flask import Flask, abort, jsonify, request
from flask.typing import ResponseReturnValue

from kato_consul import KatoClient, Session, Settings
from kato_consul.web.flask import install_error_handler

SETTINGS = Settings(
    deadline=5.0,
    attempt_timeout=2.0,
    session_directory=os.environ.get("KATO_CONSUL_SESSION_DIRECTORY", "consul"),
)
"""A call may take 5 s: less than the timeouts of gunicorn (30 s) and of the proxy in front, so that
the service answers, and not they. It is also enough to take over a session from a worker that was
killed. An instance that hangs gets 2 s, so that another one has the rest."""

app = Flask(__name__)
install_error_handler(app)  # status, Retry-After and body for each error of the client

kato = KatoClient(SETTINGS)
"""One client for all threads. Made before the workers are forked, it is a new one in each."""
atexit.register(kato.close)


def session_of(user: str) -> Session:
    """Return the user's session. All users of the shop share one knowledge base, the node."""
    return kato.session(user, node_id="shop")


def this_process() -> str:
    """Return the name of this process, which is a worker: asked for after the fork."""
    return f"{socket.gethostname()}:{os.getpid()}"


def idempotency_key() -> str | None:
    """Return the header ``Idempotency-Key``: a request that is repeated with the same key changes
    nothing, and gets the same answer, from any worker."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not 1 <= len(key) <= 255:
        abort(422)
    return key


@app.post("/visits/<user>")
def view(user: str) -> ResponseReturnValue:
    """Record that a user views a product.

    It makes one call that changes something, so that a 503 means: nothing was recorded.
    """
    seen: Any = request.get_json()
    if not isinstance(seen, dict):
        abort(422)
    emotives = {"rating": seen["rating"]} if "rating" in seen else None
    product: Any = seen.get("product")  # if it is no text, the client refuses it: a 422
    observed = session_of(user).observe(
        [product], emotives=emotives, idempotency_key=idempotency_key()
    )
    return jsonify(events=observed["stm_length"]), 201


@app.get("/visits/<user>/next")
def predict(user: str) -> ResponseReturnValue:
    """Return what other users viewed next, most likely first."""
    predictions = session_of(user).predictions()
    products = [item for each in predictions for event in each["future"] for item in event]
    return jsonify(next=products)


@app.post("/visits/<user>/end")
def end_visit(user: str) -> ResponseReturnValue:
    """Learn the products that a user viewed during this visit. Without any it is a 400."""
    learned = session_of(user).learn(idempotency_key=idempotency_key())
    return jsonify(pattern=learned["pattern_name"] or None)  # a single product makes no pattern


@app.get("/health")
def health() -> ResponseReturnValue:
    """Liveness: this process answers. It does not depend on KATO, which a restart cannot repair."""
    return jsonify(status="alive", process=this_process())


@app.get("/ready")
def ready() -> ResponseReturnValue:
    """Readiness: 200 only while a call on a session is served, which needs KATO and its store, and
    the session directory.

    It writes to a session of its own, since a store that is full still answers reads.
    """
    kato.session(f"readiness of {this_process()}", node_id="readiness", ttl=60).clear_stm()
    return jsonify(status="ready")
