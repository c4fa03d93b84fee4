"""Consul behind a gateway, which serves its API under a path."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from kato_consul import Discovery, Settings
from kato_consul.settings import ENGINES
from kato_consul.testing import ConsulAgent
from kato_consul.testing.ports import free_ports
from tests.cli.running import HealthServer, fresh_name, kato_consul
from tests.discovery.agents import discovers


@pytest.fixture(scope="module")
def gateway(agent: ConsulAgent) -> Iterator[str]:
    """A gateway that passes ``/consul/v1/…`` to the agent, and refuses everything else."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            status, content, index = 404, b"not here", "0"
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if self.path.startswith("/consul/v1/"):
                url = f"{agent.url}{self.path.removeprefix('/consul')}"
                with httpx.Client(trust_env=False, timeout=90) as http:
                    answer = http.request(self.command, url, content=body)
                status, content = answer.status_code, answer.content
                index = answer.headers.get("x-consul-index", "0")
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.send_header("x-consul-index", index)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = pass_on  # noqa: N815 - names of http.server

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Log nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Ignore clients that leave."""

    server = Server(("127.0.0.1", free_ports(1)[0]), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/consul"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("slash", ["", "/"])
def test_every_request_is_under_the_path(gateway: str, slash: str, engine: str) -> None:
    """Registering, watching, diagnosing and deregistering work through the gateway."""
    service = fresh_name()
    env = {"CONSUL_HTTP_ADDR": gateway + slash}
    settings = Settings(consul_addr=gateway + slash, service=service, engine=engine)
    with HealthServer() as instance, Discovery(settings) as discovery:
        assert not discovery.snapshot().instances
        done = kato_consul("register", *instance.flags(service), env=env)
        assert done.returncode == 0, done.stderr
        assert discovers(discovery, f"{service}-1")
        assert "error:" not in kato_consul("doctor", "--service", service, env=env).stdout
        assert kato_consul("deregister", f"{service}-1", env=env).returncode == 0
        assert discovers(discovery)
