"""What `sources parse` may be handed: bodies, wrappers and cassettes, packed or not."""

from __future__ import annotations

import base64
import gzip
import json
from datetime import UTC, datetime

import pytest

from tickerlake.errors import MalformedError
from tickerlake.sources.recordings import Recorded, recorded

CASSETTE = """interactions:
- request:
    body: null
    method: GET
    uri: https://api.acme.example/daily/AAA/prices?startDate=2024-01-02&token=hush
  response:
    body:
      string: 'date,close

        2024-01-02,10.5

        '
    headers:
      Date:
      - Wed, 03 Jan 2024 10:00:00 GMT
    status: {code: 200, message: OK}
- request:
    uri: https://api.acme.example/daily/BBB/prices
  response:
    body: {string: '{"detail":"Not found."}'}
    headers: {}
    status: {code: 404, message: Not Found}
version: 1
"""


def test_a_bare_body_is_itself() -> None:
    """What is neither packed nor wrapped comes back byte for byte, also where it is no JSON."""
    for body in (b"", b"a,b\n1,2\n", b"{", b'{"x": 1}', b"[1]", b"\x00\xff"):
        assert recorded(body) == [Recorded(body)]


def test_a_cassette_has_several_answers() -> None:
    """Each interaction of a VCR cassette is one answer with its status, address and date."""
    first, second = recorded(CASSETTE.encode())
    assert first.body == b"date,close\n2024-01-02,10.5\n"
    assert first.date == datetime(2024, 1, 3, 10, tzinfo=UTC)
    assert first.path == "/daily/AAA/prices"
    assert first.query["startDate"] == "2024-01-02"
    assert (second.status, second.body) == (404, b'{"detail":"Not found."}')


def test_a_cassette_may_be_json() -> None:
    """VCR writes JSON, too."""
    interaction = {
        "request": {"uri": "https://api.acme.example/x"},
        "response": {"body": {"string": "[]"}, "status": {"code": 200}, "headers": {"A": ["b"]}},
    }
    told = recorded(json.dumps({"version": 1, "interactions": [interaction]}).encode())
    assert told == [Recorded(b"[]", 200, {"a": "b"}, "https://api.acme.example/x")]


@pytest.mark.parametrize("body", [{"bodyJson": {"price": 0.1}}, {"body": '{"price": 0.1}'}])
def test_a_wrapper_keeps_its_request(body: dict[str, object]) -> None:
    """The body of a wrapper is found as a document and as text; numbers stay what they are."""
    wrapped = {"request": {"url": "https://x.example/p"}, "response": {"status": 429, **body}}
    (told,) = recorded(json.dumps(wrapped).encode())
    assert (json.loads(told.body), told.status, told.path) == ({"price": 0.1}, 429, "/p")


@pytest.mark.parametrize("encoding", ["", "base64"])
def test_a_browsers_export_is_read(encoding: str) -> None:
    """HAR: each entry is an answer with its address, status and date."""
    text = base64.b64encode(b'{"x": 1}').decode() if encoding else '{"x": 1}'
    content = {"text": text, "encoding": encoding} if encoding else {"text": text}
    headers = [{"name": "Date", "value": "Wed, 03 Jan 2024 10:00:00 GMT"}, "odd"]
    entry = {
        "request": {"url": "https://api.acme.example/x?y=1"},
        "response": {"status": 404, "headers": headers, "content": content},
    }
    first, second = recorded(json.dumps({"log": {"entries": [entry, entry]}}).encode())
    assert (first.body, first.status, first.path) == (b'{"x": 1}', 404, "/x")
    assert first == second
    assert first.date == datetime(2024, 1, 3, 10, tzinfo=UTC)
    for odd in ({}, {"response": {}}, {"response": {"content": {"text": 1, "encoding": "base64"}}}):
        with pytest.raises(MalformedError):
            recorded(json.dumps({"log": {"entries": [odd], "response": 1}}).encode())


def test_an_answer_may_stand_beside_its_address_without_a_wrapper() -> None:
    """A status that is a number and a body make it one; a provider's own words do not."""
    told = {"url": "https://x.example/p", "status": 429, "headers": {}, "body": "later"}
    assert recorded(json.dumps(told).encode()) == [
        Recorded(b"later", 429, {}, "https://x.example/p")
    ]
    own = json.dumps({"status": "OK", "body": "of a provider"}).encode()
    assert recorded(own) == [Recorded(own)]
    wrapper = {"response": {"status": 200, "bodyJson": None, "body": "x"}}
    assert recorded(json.dumps(wrapper).encode())[0].body == b"x"


def test_gzip_is_unpacked() -> None:
    """A packed file is what it was before; a damaged one is an error of ours."""
    packed = gzip.compress(CASSETTE.encode())
    assert recorded(packed) == recorded(CASSETTE.encode())
    with pytest.raises(MalformedError, match="gzip"):
        recorded(packed[:-9])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_marks_and_encodings_of_shells(encoding: str) -> None:
    """A body with a mark before it, or in UTF-16, is the UTF-8 that the provider sent."""
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    for text in ('{"x": "ü"}', "a,b\r\n1,2\r\n"):
        payload = (mark + text).encode(encoding)
        assert recorded(payload) == [Recorded(text.encode())]
        assert recorded(gzip.compress(payload)) == [Recorded(text.encode())]
    assert recorded(b"\xff\xfe\x00") == [Recorded(b"\xff\xfe\x00")]


@pytest.mark.parametrize(
    "broken", ["interactions: []\n", "interactions: [1]\n", "interactions: [{response: 1}]\n",
               "interactions:\n\t- x", "interactions: &a [*a]\n",
     "interactions: [{response: {body: &b [*b]}}]\n", "version: 1\ninteractions: {}\n"],
)  # fmt: skip
def test_a_broken_cassette_is_malformed(broken: str) -> None:
    """YAML that is none, or no cassette, is an error of our tree."""
    with pytest.raises(MalformedError):
        recorded(broken.encode())
