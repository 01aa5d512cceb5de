"""The HTTP side of WHIP (RFC 9725) and WHEP for the Python clients."""

import urllib.error
import urllib.parse
import urllib.request


class Session:
    """One session resource on the server."""

    def __init__(self, url, etag):
        self.url = url
        self.etag = etag

    def trickle(self, fragment):
        """Sends candidates (RFC 9725 §4.3.2). Returns the status."""
        headers = {"Content-Type": "application/trickle-ice-sdpfrag"}
        if self.etag:
            headers["If-Match"] = self.etag
        return _request("PATCH", self.url, fragment, headers)[0]

    def end(self):
        """Deletes the session. Returns the status."""
        return _request("DELETE", self.url)[0]


def post(url, offer):
    """Posts an offer. Returns the session and the answer, or raises with what the server said."""
    status, headers, body = _request("POST", url, offer, {"Content-Type": "application/sdp"})
    if status != 201:
        raise RuntimeError(f"{url} answered {status}: {body}")
    location = urllib.parse.urljoin(url, headers["Location"])
    return Session(location, headers.get("ETag")), body


def _request(method, url, body=None, headers=None):
    data = body.encode() if body is not None else None
    request = urllib.request.Request(url, data, headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.headers, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode(errors="replace")
