"""The same as a Flask service: one client for all threads, made before workers are forked or after.

    kato-consul dev
    CONSUL_HTTP_ADDR=127.0.0.1:PORT gunicorn --preload --workers 2 --threads 8 \\
        examples.flask_service:app

A user's session belongs to one worker: where there are several, have a proxy send a user to the
same one, or let each user's requests come one after the other.
"""

import os
import re

from flask import Flask, Response, jsonify
from flask.typing import ResponseReturnValue

from kato_consul import BadRequest, KatoClient, KatoConsulError

app = Flask(__name__)
kato = KatoClient()


@app.post("/visits/<user>/<product>")
def visit(user: str, product: str) -> Response:
    """A user looks at a product; what others looked at next."""
    session = kato.session(user, node_id="shop")
    session.observe([product])
    found = session.predictions()
    return jsonify(next=[one for each in found for event in each["future"] for one in event])


@app.post("/visits/<user>")
def leave(user: str) -> Response:
    """A user leaves: what was looked at is learned."""
    try:
        learned = kato.session(user, node_id="shop").learn()
    except BadRequest:
        return jsonify(learned="nothing")
    return jsonify(learned=learned["pattern_name"])


@app.get("/worker")
def worker() -> Response:
    """Which process answers."""
    return jsonify(pid=os.getpid())


@app.errorhandler(KatoConsulError)
def unavailable(error: KatoConsulError) -> ResponseReturnValue:
    """Says itself whether, and when, asking again makes sense."""
    return jsonify(error=re.sub(r"\s+", " ", str(error))), 503
