"""Gateways: what an answer means that something in front of KATO gave in its place."""

from kato_consul._flow import Reply
from kato_consul.errors import excerpt

_REFUSALS = {
    401: "a gateway in front of KATO asks for credentials, or does not accept them: set "
    "kato_api_key_file (KATO_API_KEY_FILE) or kato_api_key (KATO_API_KEY), or kato_headers",
    403: "a gateway in front of KATO refused the request: the API key (kato_api_key_file, "
    "kato_api_key) or the client certificate (kato_client_cert) lacks the permission for it",
    407: "a proxy asks for credentials: let the address of the instance be KATO's, or that of a "
    "gateway in front of it",
}
"""What a status means that KATO itself never returns: it has no credentials."""

CHECK_ADDRESS = "something else than KATO answers. Check the scheme, port and path of the instance"


def gateway_refusal(reply: Reply) -> str:
    """Return what a refusal or a redirection by a gateway means, and which setting changes it.

    Empty if the reply is neither.
    """
    if reply.status in _REFUSALS:
        return _REFUSALS[reply.status]
    if not 300 <= reply.status < 400:
        return ""
    to = reply.headers.get("location", "").partition("?")[0]  # a query may hold a secret
    if to.lower().startswith("https://"):
        return (
            f"it redirects to {excerpt(to)}: KATO is reached over https. Set scheme=https in the "
            f"metadata of the instance, or kato_scheme (KATO_SCHEME), or write https in KATO_URL"
        )
    return f"it redirects to {excerpt(to) or 'nowhere'}, which is not followed: {CHECK_ADDRESS}"


def strange_body(reply: Reply) -> str:
    """Return what a body that is not KATO's indicates; empty if its kind is not known."""
    body = reply.body.lstrip()[:500].lower()
    if reply.status == 400 and b"https" in body:
        return (
            "KATO is reached over https: set scheme=https in the metadata of the instance, or "
            "kato_scheme (KATO_SCHEME), or write https in KATO_URL"
        )
    if reply.status in (400, 495, 496) and b"ssl certificate" in body:
        return (
            "it requires a client certificate: set kato_client_cert and kato_client_key "
            "(KATO_CLIENT_CERT, KATO_CLIENT_KEY)"
        )
    is_page = body.startswith((b"<!doctype", b"<html"))
    if is_page or reply.headers.get("content-type", "").startswith("text/html"):
        return f"this is a web page: {CHECK_ADDRESS}"
    return ""
