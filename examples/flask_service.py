"""Flask service that uses KATO, as one would put it into production.

    kato-consul dev
    CONSUL_HTTP_ADDR=127.0.0.1:PORT gunicorn --preload --workers 2 --threads 8 \\
        examples.flask_service:app

A SESSION BELONGS TO ONE PROCESS. Each worker has sessions of its own: if the requests of a user
reach several workers, the user has several KATO sessions with a part of the events each, without an
error, also if the requests come one after the other. So run one worker with many threads, or let
the proxy in front route each user to the same worker (by a hash of the user's id).
docs/web-services.md has more on workers, errors, deploys and readiness.
"""

import atexit
import os
from typing import Any

from flask import Flask, abort, jsonify, request
from flask.typing import ResponseReturnValue

from kato_consul import KatoClient, Session, Settings
from kato_consul.web.flask import install_error_handler

LIMITS = Settings(deadline=5.0, attempt_timeout=2.0)
"""Seconds that a call may take: below the timeouts of gunicorn (30 s) and of the proxy in front, so
that the service answers, and not they. An instance that hangs gets 2 s of them, so that another one
has the rest."""

app = Flask(__name__)
install_error_handler(app)  # status, Retry-After and body for each error of the client

kato = KatoClient(LIMITS)
"""One client for all threads. Made before the workers are forked, it is a new one in each."""
atexit.register(kato.close)


def session_of(user: str) -> Session:
    """Return the user's session. All users of the shop share one knowledge base, the node."""
    return kato.session(user, node_id="shop")


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
    observed = session_of(user).observe([product], emotives=emotives)
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
    learned = session_of(user).learn()
    return jsonify(pattern=learned["pattern_name"] or None)  # a single product makes no pattern


@app.get("/health")
def health() -> ResponseReturnValue:
    """Liveness: this process answers. It does not depend on KATO, which a restart cannot repair."""
    return jsonify(status="alive", pid=os.getpid())


@app.get("/ready")
def ready() -> ResponseReturnValue:
    """Readiness: 200 only while a call on a session is served, which needs KATO and its store.

    It writes to a session of its own, since a store that is full still answers reads.
    """
    kato.session("readiness of this process", ttl=60).clear_stm()
    return jsonify(status="ready")
