"""Flask service with one KATO client for all threads, created before or after workers are forked.

    kato-consul dev
    CONSUL_HTTP_ADDR=127.0.0.1:PORT gunicorn --preload --workers 2 --threads 8 \\
        examples.flask_service:app

A user's session belongs to one worker. With several workers, let a proxy route each user to the
same worker, or send each user's requests one after the other.
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
    """Record that a user views a product; return what other users viewed next."""
    session = kato.session(user, node_id="shop")
    session.observe([product])
    predictions = session.predictions()
    products = [item for each in predictions for event in each["future"] for item in event]
    return jsonify(next=products)


@app.post("/visits/<user>")
def end_visit(user: str) -> Response:
    """Learn the products that a user viewed during this visit."""
    try:
        learned = kato.session(user, node_id="shop").learn()
    except BadRequest:
        return jsonify(learned="nothing")
    return jsonify(learned=learned["pattern_name"])


@app.get("/worker")
def worker() -> Response:
    """Return the id of the worker process."""
    return jsonify(pid=os.getpid())


@app.errorhandler(KatoConsulError)
def unavailable(error: KatoConsulError) -> ResponseReturnValue:
    """Return 503; the text of the error says what to do."""
    return jsonify(error=re.sub(r"\s+", " ", str(error))), 503
