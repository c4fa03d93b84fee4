"""Settings of how KATO is reached: URLs, scheme, path, credentials and headers."""

from pathlib import Path
from typing import Any

import pytest

from kato_consul import ConfigurationError, Secret, ServiceDefinition, Settings
from kato_consul._addresses import InstanceUrl, instance_url, is_path_prefix
from kato_consul._discovery.snapshot_codec import (
    decode,
    encode,
    query_fingerprint,
    static_snapshot,
)
from kato_consul._flow import Reply
from kato_consul._http.kato_headers import kato_headers
from kato_consul.errors import DefinitionError
from kato_consul.models import Instance
from tests.building import snapshot
from tests.environment import settings_of

HIDDEN = "not-to-be-shown"


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://kato", ("http", "kato", 80, "")),
        ("https://kato.example", ("https", "kato.example", 443, "")),
        ("https://kato.example/kato", ("https", "kato.example", 443, "/kato")),
        ("https://kato.example:8443/a/b-c/", ("https", "kato.example", 8443, "/a/b-c")),
        ("https://[fd00::5]/kato", ("https", "fd00::5", 443, "/kato")),
        ("http://fd00::5:8000", ("http", "fd00::5", 8000, "")),
        ("http://10.0.0.5:80/k%20o", ("http", "10.0.0.5", 80, "/k%20o")),
    ],
)
def test_url_of_an_instance(url: str, parts: InstanceUrl) -> None:
    """Scheme, host, port with its default, and path."""
    assert instance_url(url) == parts
    assert settings_of({"KATO_URL": url}).kato_urls == (url,)


@pytest.mark.parametrize(
    "path", ["kato", "/", "//", "/a//b", "/a/", "/a b", "/a?b", "/a#b", "/a\r\nb", "/..", "/./a",
             "/a/../b", "/%", "/%zz", "/\u00e4", "/a\0"]
)  # fmt: skip
def test_path_that_is_no_prefix(path: str) -> None:
    """It would change the request, or another path would be meant after normalization."""
    assert not is_path_prefix(path)
    assert Instance("kato-1", "kato", "10.0.0.5", 8000, path=path).address_error
    with pytest.raises(DefinitionError, match=r"path: .* is not a path"):
        ServiceDefinition(name="kato", port=1, path=path)
    if path.strip("/") and path.rstrip("/") == path:
        with pytest.raises(ConfigurationError, match="KATO_PATH"):
            Settings(kato_path=path)


@pytest.mark.parametrize("path", ["", "/kato", "/a/b", "/...", "/a..b", "/%20b", "/~me:8,@=;'()*"])
def test_path_that_is_a_prefix(path: str) -> None:
    """It is put before the path of each request."""
    one = Instance("kato-1", "kato", "::1", 8000, scheme="https", path=path)
    assert (one.address_error, one.origin) == ("", f"https://[::1]:8000{path}")
    assert ServiceDefinition(name="kato", port=1, path=path).origin.endswith(f":1{path}")


@pytest.mark.parametrize("scheme", ["ftp", "HTTPS", "https:", "http\n", "\u0161"])
def test_scheme_that_is_none(scheme: str) -> None:
    """An instance with it is listed, and not used; a definition with it is refused."""
    bad = Instance("kato-1", "kato", "10.0.0.5", 8000, scheme=scheme)
    assert bad.address_error == (
        f"its metadata has the scheme {scheme!r}, which is not http or https"
    )
    assert not snapshot(bad).usable
    with pytest.raises(DefinitionError, match="scheme: "):
        ServiceDefinition(name="kato", port=1, scheme=scheme)
    with pytest.raises(ConfigurationError, match="KATO_SCHEME"):
        Settings(kato_scheme=scheme)


def test_definition_writes_scheme_and_path_to_its_metadata() -> None:
    """As it does with the zone; a contradiction is a mistake."""
    definition = ServiceDefinition(name="kato", port=1, scheme="https", path="/kato", zone="a")
    assert definition.meta_fields == {"zone": "a", "scheme": "https", "path": "/kato"}
    assert ServiceDefinition(name="kato", port=1).meta_fields == {}
    for name, value in (("scheme", "http"), ("path", "/other")):
        with pytest.raises(DefinitionError, match=f"{name}: meta has a different {name}"):
            ServiceDefinition(name="kato", port=1, scheme="https", path="/kato", meta={name: value})


def test_definition_reads_scheme_and_path_from_its_metadata() -> None:
    """What clients read is where the registrar probes, and where the default check is sent."""
    meta = {"scheme": "https", "path": "/kato/"}
    definition = ServiceDefinition(name="kato", address="kato.test", port=1, meta=meta)
    assert definition.origin == "https://kato.test:1/kato"


def test_instances_of_a_static_list_have_their_path_in_the_id() -> None:
    """Several may be behind one gateway."""
    urls = ["https://gw/a", "https://gw/b", "https://gw:443/a/"]
    current = static_snapshot("kato", urls)
    assert [(one.id, one.uid, one.origin) for one in current.instances] == [
        ("gw:443/a", "gw:443/a", "https://gw:443/a"),
        ("gw:443/b", "gw:443/b", "https://gw:443/b"),
    ]


def test_saved_snapshot_keeps_scheme_and_path() -> None:
    """Clients with other defaults for them do not share the file."""
    fingerprint = query_fingerprint(Settings())
    one = Instance("kato-1", "kato", "10.0.0.5", 8000, scheme="https", path="/kato")
    saved = decode(encode(snapshot(one), fingerprint, 1.0), "kato", fingerprint)
    assert saved.snapshot.instances == (one,)
    for other in (Settings(kato_scheme="https"), Settings(kato_path="/kato")):
        assert query_fingerprint(other) != fingerprint


@pytest.mark.parametrize("url", [f"https://me:{HIDDEN}@kato/x", f"https://{HIDDEN}@kato"])
def test_user_in_a_url_is_refused(url: str) -> None:
    """The message names where credentials belong, and does not contain them."""
    with pytest.raises(ConfigurationError, match="KATO_API_KEY_FILE") as caught:
        settings_of({"KATO_URL": url})
    assert HIDDEN not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "headers"),
    [
        ({}, None),
        ({"kato_api_key": "k-1"}, {"Authorization": "Bearer k-1"}),
        ({"kato_api_key": " k-1\n", "kato_api_key_header": "apikey"}, {"apikey": "k-1"}),
        ({"kato_headers": {"X-Tenant": "a b"}}, {"X-Tenant": "a b"}),
        (
            {"kato_headers": {"X-Api-Key": Secret("k-2")}, "kato_api_key": Secret("k-1")},
            {"X-Api-Key": "k-2", "Authorization": "Bearer k-1"},
        ),
    ],
)
def test_headers_of_requests(given: dict[str, Any], headers: dict[str, str] | None) -> None:
    """The key as a bearer, or alone in another header; and headers of one's own."""
    made = kato_headers(Settings(**given))
    assert (made.all() if made is not None else None) == headers
    if made is not None:
        assert made.lines() == "".join(f"{name}: {value}\r\n" for name, value in made.all().items())


@pytest.mark.parametrize(
    "given",
    [
        {"kato_api_key": f"{HIDDEN}\r\nx: y"},
        {"kato_api_key": f"{HIDDEN} {HIDDEN}"},
        {"kato_api_key": f"\u00fc{HIDDEN}"},
        {"kato_api_key": 7},
        {"kato_headers": {"X-A": f"{HIDDEN}\r\nx: y"}},
        {"kato_headers": {"X-A": f"{HIDDEN}\n"}},
        {"kato_headers": {"X-A": f"\u00fc{HIDDEN}"}},
        {"kato_headers": {"X-A": 7}},
        {"kato_headers": {"X A": "b"}},
        {"kato_headers": {"X-A\r\nx": "b"}},
        {"kato_headers": {"Host": "b"}},
        {"kato_headers": {"content-length": "1"}},
        {"kato_headers": {"x-a": "1", "X-A": "2"}},
        {"kato_headers": "X-A: b"},
        {"kato_headers": {"authorization": HIDDEN}, "kato_api_key": "k"},
        {"kato_api_key_header": "X A"},
        {"kato_api_key_header": "host"},
        {"kato_client_cert": Path("a.pem")},
    ],
)
def test_what_no_request_can_carry_is_refused(given: dict[str, Any]) -> None:
    """When the settings are made, without showing a secret."""
    with pytest.raises(ConfigurationError) as caught:
        Settings(**given)
    assert HIDDEN not in str(caught.value)


def test_key_file_is_read_again(tmp_path: Path) -> None:
    """A file takes precedence over a key, and a key in code over a file in the environment."""
    path = tmp_path / "key"
    path.write_text("one\n")
    variables = {"KATO_API_KEY_FILE": str(path), "KATO_API_KEY": "other"}
    made = kato_headers(settings_of(variables))
    assert made is not None
    assert made.lines() == "Authorization: Bearer one\r\n"
    path.write_text("two")
    assert made.lines() == "Authorization: Bearer two\r\n"
    assert made.all() == {"Authorization": "Bearer two"}
    in_code = kato_headers(settings_of(variables, kato_api_key="mine"))
    assert in_code is not None
    assert in_code.lines() == "Authorization: Bearer mine\r\n"


def test_rotated_key_is_hidden(tmp_path: Path) -> None:
    """The new one and the one before: an error page may repeat either. On each engine's way."""
    path = tmp_path / "key"
    path.write_text("first-key")
    for read in ("lines", "all"):
        made = kato_headers(Settings(kato_api_key_file=path))
        assert made is not None
        path.write_text("second-key")
        getattr(made, read)()
        hidden = made.hidden_in(Reply(403, {}, b"first-key second-key"))
        assert hidden.body == b"*** ***"
        path.write_text("first-key")


def test_key_file_that_cannot_be_read_is_told_at_once(tmp_path: Path) -> None:
    """With the setting, the variable and the file."""
    with pytest.raises(ConfigurationError, match=r"kato_api_key_file \(KATO_API_KEY_FILE\).*gone"):
        kato_headers(Settings(kato_api_key_file=tmp_path / "gone"))


def test_repr_has_no_secret() -> None:
    """Of the settings and of what is made from them."""
    settings = Settings(kato_api_key=HIDDEN, kato_headers={"X-A": HIDDEN})
    assert HIDDEN not in repr(settings) + str(settings) + repr(kato_headers(settings))
