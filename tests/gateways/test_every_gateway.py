"""What each gateway does with the package's own template: the same tests for all of them.

The gateways are real ones, in front of instances in a real Consul.
"""

import contextlib
import http.client
import ssl
from pathlib import Path

from kato_consul.gateways import GATEWAYS
from kato_consul.testing import ConsulAgent
from tests.gateways.recorder import CUT, STATUS, Recorder
from tests.gateways.site import GatewaySite, gateway_site, put, register, write_once
from tests.security.gateway import Certificates
from tests.testing.waiting import eventually

SESSIONS = [f"session-{number:x}-1" for number in range(100)]
"""So many that each of four instances has one of them, on any ports: nginx hashes with CRC-32, by
which ids that are alike are not far apart, and of 40 ids one in 3,000 choices of ports has none."""

RETRIES = {
    "nginx": (
        "proxy_next_upstream error timeout;",
        "proxy_next_upstream error timeout non_idempotent;",
    ),
    "haproxy": (
        "retry-on conn-failure",
        # It repeats only requests that it has as a whole.
        "retry-on all-retryable-errors\n    option http-buffer-request",
    ),
    "envoy": ("retry_on: connect-failure,", "retry_on: 5xx,"),
}
"""By gateway, what the template says of retries, and what many pages say instead."""


class TestRequests:
    """What becomes of a request."""

    def test_requests_of_a_session_go_to_one_instance(self, site: GatewaySite) -> None:
        """Whatever is called, and whichever instances there are otherwise."""
        for session in SESSIONS[:10]:
            paths = ("observe", "observe-sequence", "stm?x=1", "predictions")
            answers = [site.call("GET", f"/sessions/{session}/{path}")[1] for path in paths]
            answers.append(site.call("GET", f"/sessions/{session}")[1])
            assert len({answer["name"] for answer in answers}) == 1
        homes = {site.call("GET", f"/sessions/{session}/stm")[1]["name"] for session in SESSIONS}
        assert homes == {"a", "b", "c"}

    def test_other_requests_go_to_all_instances(self, site: GatewaySite) -> None:
        """A session is opened on any of them."""
        assert eventually(
            lambda: (
                {site.call("POST", "/sessions", {})[1]["name"] for _ in range(9)} == {"a", "b", "c"}
            )
        )

    def test_path_and_query_arrive_as_they_were_sent(self, site: GatewaySite) -> None:
        """Percent-encoding included: symbols may have any character."""
        path = "/symbols/a%2Fb%20c%25/affinity?x=%26&y=%C3%A4"
        assert site.call("GET", path)[1]["path"] == path

    def test_trace_id_is_passed_on_or_made(self, site: GatewaySite) -> None:
        """KATO writes it into its log."""
        answer = site.call("GET", "/health", headers={"X-Trace-ID": "trace-1"})[1]
        assert answer["headers"]["x-trace-id"] == "trace-1"
        made = {site.call("GET", "/health")[1]["headers"]["x-trace-id"] for _ in range(3)}
        assert len(made) == 3

    def test_a_post_that_was_sent_is_not_repeated(
        self, kind: str, site: GatewaySite, recorders: dict[str, Recorder]
    ) -> None:
        """Not after a connection that was closed, nor after a 500 or a 503; nor if the caller asks
        for it in Envoy's words."""
        asks = {
            "x-envoy-retry-on": "5xx,reset,retriable-4xx",
            "x-envoy-max-retries": "3",
            "x-envoy-retriable-status-codes": "500,503",
        }
        for number, headers in enumerate(
            ({CUT: "1"}, {CUT: "1", **asks}, {STATUS: "500", **asks}, {STATUS: "503"})
        ):
            path = f"/sessions/{kind}-not-repeated-{number}/observe"
            try:
                status, _ = site.call("POST", path, {"strings": ["a"]}, headers)
            except (OSError, http.client.HTTPException):
                status = 502
            assert status >= 500
            arrived = [
                one for each in recorders.values() for one in each.requests if one.path == path
            ]
            assert [one.method for one in arrived] == ["POST"]

    def test_websocket_is_passed_on(self, site: GatewaySite) -> None:
        """``/ws/events`` is one: after the 101, bytes go both ways."""
        with site.connect() as connection:
            connection.sendall(
                b"GET /ws/events HTTP/1.1\r\nHost: kato\r\nConnection: Upgrade\r\n"
                b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            received = b""
            while b"\r\n\r\n" not in received:
                received += connection.recv(4096)
            assert received.startswith(b"HTTP/1.1 101")
            connection.sendall(b"x")
            assert connection.recv(1) == b"x"

    def test_large_bodies_are_accepted(self, site: GatewaySite) -> None:
        """A long sequence of observations is more than nginx's default, which is 1 MiB."""
        status, _ = site.call("POST", "/sessions/large/observe-sequence", ["x" * 2_000_000])
        assert status == 200

    def test_an_instance_that_leaves_moves_only_its_sessions(
        self, site: GatewaySite, agent: ConsulAgent, recorders: dict[str, Recorder]
    ) -> None:
        """And they return with it; the others stay where they are."""
        before = self._homes(site)
        put(agent, "service/deregister/b")
        site.wait_for("2 instances of recorded: written")
        assert eventually(lambda: "b" not in self._homes(site).values())
        between = self._homes(site)
        stayed = {session for session, home in before.items() if home != "b"}
        assert {one: between[one] for one in stayed} == {one: before[one] for one in stayed}
        register(agent, "recorded", recorders["b"])
        site.wait_for("3 instances of recorded: written")
        assert eventually(lambda: self._homes(site) == before)

    def test_an_instance_that_refuses_connections_costs_nothing(
        self, site: GatewaySite, agent: ConsulAgent
    ) -> None:
        """While Consul still lists it, its requests go to another one: POSTs too, since nothing was
        sent."""
        with Recorder("d") as recorder:
            register(agent, "recorded", recorder)
            site.wait_for("4 instances of recorded: written")
            assert eventually(lambda: "d" in self._homes(site).values())
        for session in SESSIONS:
            status, _ = site.call("POST", f"/sessions/{session}/observe", {"strings": ["a"]})
            assert status == 200
        put(agent, "service/deregister/d")
        site.wait_for("3 instances of recorded: written")

    def _homes(self, site: GatewaySite) -> dict[str, str]:
        """Return which instance has which session."""
        return {one: site.call("GET", f"/sessions/{one}/stm")[1]["name"] for one in SESSIONS}


class TestTemplates:
    """A template of one's own, and why the built-in one says what it says."""

    def test_with_other_retries_a_post_would_be_repeated(
        self, kind: str, agent: ConsulAgent, recorders: dict[str, Recorder], tmp_path: Path
    ) -> None:
        """A POST whose answer is cut arrives twice and more."""
        source = GATEWAYS[kind].template_source()
        safe, unsafe = RETRIES[kind]
        assert safe in source
        template = tmp_path / "mine.j2"
        template.write_text(source.replace(safe, unsafe))
        path = f"/sessions/{kind}-repeated/observe"
        options = ("--template", template)
        with (
            gateway_site(kind, agent, "recorded", tmp_path, *options) as site,
            contextlib.suppress(OSError, http.client.HTTPException),
        ):
            site.call("POST", path, {"strings": ["a"]}, {CUT: "1"})
        arrived = [one for each in recorders.values() for one in each.requests if one.path == path]
        assert len(arrived) > 1


class TestPaths:
    """The paths before KATO's own."""

    def test_prefix_is_removed_and_path_of_the_instances_is_added(
        self, kind: str, agent: ConsulAgent, recorders: dict[str, Recorder], tmp_path: Path
    ) -> None:
        """With ``--prefix``, and instances that are registered with a path. Sessions stay."""
        for each in recorders.values():
            register(agent, "deep", each, Meta={"path": "/inner/kato"})
        with gateway_site(kind, agent, "deep", tmp_path, "--prefix", "/kato") as site:
            encoded = "/symbols/a%2Fb/affinity?x=1"
            assert site.call("GET", f"/kato{encoded}")[1]["path"] == f"/inner/kato{encoded}"
            assert site.call("GET", "/health")[0] == 404
            for session in SESSIONS[:10]:
                paths = [f"/sessions/{session}/{one}" for one in ("stm", "observe", "predictions")]
                answers = [site.call("GET", f"/kato{path}")[1] for path in paths]
                assert [one["path"] for one in answers] == [f"/inner/kato{path}" for path in paths]
                assert len({one["name"] for one in answers}) == 1

    def test_odd_registrations_cannot_break_out(
        self, kind: str, agent: ConsulAgent, recorders: dict[str, Recorder], tmp_path: Path
    ) -> None:
        """The gateway's own program accepts what is rendered from them, and the odd ones are
        servers like others, or left out."""
        register(agent, "odd", recorders["a"], ID='x"; } include /etc/passwd; #\n{')
        register(agent, "odd", recorders["b"], ID="b", Address="::1", Tags=['"}', "\n"])
        register(agent, "odd", recorders["c"], ID="c", Meta={"path": '/a"; $x{'})
        register(agent, "odd", recorders["c"], ID="d", Meta={"path": "/a$b"})
        register(agent, "odd", recorders["c"], ID="e", Address="kato}; evil")
        weights = {"Passing": 65535, "Warning": 1}
        register(agent, "odd", recorders["c"], ID="f", Address="localhost", Weights=weights)
        written = write_once(kind, agent, "odd", tmp_path / "odd.yaml")
        assert written.returncode == 0, written.stderr
        assert "3 instances of odd: written" in written.stdout
        assert "left out: d: its path '/a$b' has characters" in written.stdout
        for file in tmp_path.iterdir():
            assert "passwd" not in file.read_text() or "_include__etc_passwd" in file.read_text()


class TestHttps:
    """Instances that are registered with ``scheme=https``."""

    def test_instances_are_verified_and_get_the_client_certificate(
        self, kind: str, agent: ConsulAgent, tmp_path: Path
    ) -> None:
        """With the CA, the name and the certificate of the settings. With another CA nothing is
        sent."""
        certificates = Certificates(tmp_path)
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates.ca)
        tls.verify_mode = ssl.CERT_REQUIRED
        tls.load_cert_chain(*certificates.pair("server"))
        cert, key = certificates.pair("client")
        both = tmp_path / "client-both.pem"
        both.write_text(cert.read_text() + key.read_text())
        env = {
            "KATO_CACERT": str(certificates.ca),
            "KATO_CLIENT_CERT": str(both),
            "KATO_CLIENT_KEY": str(key),
            "KATO_TLS_SERVER_NAME": "localhost",
        }
        with Recorder("secure", tls) as recorder:
            register(agent, "secure", recorder, Meta={"scheme": "https"})
            with gateway_site(kind, agent, "secure", tmp_path, env=env) as site:
                assert site.call("POST", "/sessions/a/observe", {"strings": []})[0] == 200
            for wrong in (
                {"KATO_CACERT": str(certificates.other_ca)},
                {"KATO_TLS_SERVER_NAME": "other.example"},
            ):
                wrong_env = {**env, **wrong}
                with gateway_site(kind, agent, "secure", tmp_path, env=wrong_env) as site:
                    assert site.call("POST", "/sessions/b/observe", {})[0] in (502, 503)
        assert [one.path for one in recorder.requests] == ["/sessions/a/observe"]
