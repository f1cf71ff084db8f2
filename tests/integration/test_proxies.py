"""The fault proxies: each fault does what its name says, and nothing else."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, HTTPClientError

from tickerlake.clock import monotonic_seconds
from tickerlake.testing.services.http_proxy import (
    Answer,
    Exchange,
    HttpProxy,
    answer,
    cut_answer,
    cut_request,
    delay,
    lose_answer,
    send_twice,
)
from tickerlake.testing.services.process import LOOPBACK, free_ports
from tickerlake.testing.services.seaweed import ACCESS_KEY, BUCKET, REGION, SECRET_KEY, Seaweed
from tickerlake.testing.services.tcp_proxy import TcpProxy

SECONDS_MAX = 30


class Echo:
    """A server that answers every line with itself, and keeps what it has heard."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self._listening = socket.create_server((LOOPBACK, free_ports(1)[0]))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            try:
                for line in lines:
                    self.heard.append(line)
                    connection.sendall(line)
            except OSError:
                return


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.stop()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[TcpProxy]:
    with TcpProxy(echo.port) as between:
        yield between


@pytest.fixture
def client(proxy: TcpProxy) -> Iterator[socket.socket]:
    with socket.create_connection((LOOPBACK, proxy.port), timeout=SECONDS_MAX) as connection:
        yield connection


def ask(client: socket.socket, line: bytes = b"hello\n") -> bytes:
    client.sendall(line)
    return received(client, len(line))


def received(client: socket.socket, count: int) -> bytes:
    whole = b""
    while len(whole) < count and (piece := client.recv(count - len(whole))):
        whole += piece
    return whole


# --- TCP


def test_without_a_fault_bytes_pass_both_ways(client: socket.socket) -> None:
    """A large message comes back as it was."""
    line = b"x" * 1_000_000 + b"\n"
    sending = threading.Thread(target=client.sendall, args=(line,))
    sending.start()
    assert received(client, len(line)) == line
    sending.join()


def test_the_end_of_one_direction_passes(client: socket.socket) -> None:
    """A client that has said all still hears the answer, and then the server's end."""
    client.sendall(b"last words\n")
    client.shutdown(socket.SHUT_WR)
    assert received(client, 100) == b"last words\n"


def test_a_reset_strikes_what_is_open_and_nothing_later(
    proxy: TcpProxy, client: socket.socket
) -> None:
    """The open connection ends with a reset; the next one works."""
    ask(client)
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with socket.create_connection((LOOPBACK, proxy.port)) as another:
        assert ask(another) == b"hello\n"
    assert proxy.struck == 1


def test_a_lost_answer_was_heard_by_the_server(
    proxy: TcpProxy, client: socket.socket, echo: Echo
) -> None:
    """The request arrives, its answer does not; once."""
    proxy.cut("answers", after_bytes=0)
    client.sendall(b"do it\n")
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert echo.heard == [b"do it\n"]
    with socket.create_connection((LOOPBACK, proxy.port)) as another:
        assert ask(another) == b"hello\n"


def test_a_request_is_cut_in_the_middle(proxy: TcpProxy, client: socket.socket, echo: Echo) -> None:
    """The server gets so many bytes and no more."""
    assert ask(client, b"whole\n") == b"whole\n"
    proxy.cut("requests", after_bytes=5)
    client.sendall(b"broken in two\n")
    with pytest.raises(ConnectionResetError):
        received(client, 100)
    assert b"broken in two\n" not in echo.heard


def test_dropped_answers_leave_the_connection_open(
    proxy: TcpProxy, client: socket.socket, echo: Echo
) -> None:
    """Requests arrive and answers vanish, until the fault is taken back."""
    proxy.drop_answers = True
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        ask(client, b"lost\n")
    assert echo.heard == [b"lost\n"]
    proxy.heal()
    client.settimeout(SECONDS_MAX)
    assert ask(client) == b"hello\n"


def test_a_paused_proxy_holds_bytes_and_loses_none(proxy: TcpProxy, client: socket.socket) -> None:
    """What was held arrives after `resume`."""
    proxy.pause()
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        ask(client)
    proxy.resume()
    client.settimeout(SECONDS_MAX)
    assert received(client, 6) == b"hello\n"


def test_a_refusing_proxy_is_as_if_nobody_were_there(
    proxy: TcpProxy, client: socket.socket
) -> None:
    """Open connections are reset and new ones refused, until it accepts again."""
    ask(client)
    proxy.refuse()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((LOOPBACK, proxy.port))
    proxy.accept()
    with socket.create_connection((LOOPBACK, proxy.port)) as another:
        assert ask(another) == b"hello\n"


def test_throttle_and_latency_take_their_time(proxy: TcpProxy, client: socket.socket) -> None:
    """Bytes come no sooner than the rate and the latency allow."""
    proxy.bytes_per_second = 10_000
    proxy.latency_seconds = 0.01
    begun = monotonic_seconds()
    ask(client, b"x" * 1_999 + b"\n")
    assert monotonic_seconds() - begun > 0.2
    proxy.heal()
    assert ask(client) == b"hello\n"


def test_a_server_that_is_down_resets_the_client() -> None:
    """Nobody behind the proxy: the connection is taken and ends at once."""
    with (
        TcpProxy(free_ports(1)[0]) as proxy,
        pytest.raises(ConnectionResetError),
        socket.create_connection((LOOPBACK, proxy.port), timeout=SECONDS_MAX) as client,
    ):
        client.recv(1)


# --- HTTP, before a store that checks signatures


@pytest.fixture
def http(seaweed: Seaweed) -> Iterator[HttpProxy]:
    with HttpProxy(seaweed.s3_port) as between:
        yield between


def s3(http: HttpProxy, *, attempts: int = 1) -> object:
    """A client whose SDK sends a request so often."""
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=http.url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name=REGION,
        config=Config(retries={"total_max_attempts": attempts, "mode": "standard"}),
    )


def body(client: object, key: str) -> bytes:
    return client.get_object(Bucket=BUCKET, Key=key)["Body"].read()


def test_signatures_and_bodies_survive_the_proxy(http: HttpProxy) -> None:
    """Through it a client works as without: put, head, list, get, delete."""
    client = s3(http)
    payload = bytes(range(256)) * 10_000
    client.put_object(Bucket=BUCKET, Key="through", Body=payload)
    assert client.head_object(Bucket=BUCKET, Key="through")["ContentLength"] == len(payload)
    assert body(client, "through") == payload
    listed = client.list_objects_v2(Bucket=BUCKET, Prefix="through")["Contents"]
    assert [found["Key"] for found in listed] == ["through"]
    client.delete_object(Bucket=BUCKET, Key="through")
    assert "Contents" not in client.list_objects_v2(Bucket=BUCKET, Prefix="through")
    assert [status for _, status in http.seen] == [200, 200, 200, 200, 204, 200]


def test_an_injected_status_never_reaches_the_server(http: HttpProxy, seaweed: Seaweed) -> None:
    """SlowDown: the SDK of one attempt fails, that of two goes on; only the second one lands."""
    slow = answer(503, b"<Error><Code>SlowDown</Code></Error>", content_type="application/xml")
    fault = http.add("PUT .*/slowly", slow, times=2)
    with pytest.raises(ClientError, match="SlowDown"):
        s3(http).put_object(Bucket=BUCKET, Key="slowly", Body=b"1")
    assert "Contents" not in seaweed.s3().list_objects_v2(Bucket=BUCKET, Prefix="slowly")
    s3(http, attempts=2).put_object(Bucket=BUCKET, Key="slowly", Body=b"2")
    assert fault.struck == 2
    assert body(seaweed.s3(), "slowly") == b"2"


def test_a_lost_answer_to_a_put_was_applied(http: HttpProxy, seaweed: Seaweed) -> None:
    """The client sees a closed connection; the object is there."""
    http.add("PUT .*/applied", lose_answer)
    with pytest.raises(ConnectionClosedError):
        s3(http).put_object(Bucket=BUCKET, Key="applied", Body=b"there")
    assert body(seaweed.s3(), "applied") == b"there"


def test_a_conditional_put_sent_twice_is_refused_though_it_landed(
    http: HttpProxy, seaweed: Seaweed
) -> None:
    """What makes a table unreadable: the caller hears 412 about its own commit."""
    http.add("PUT .*/twice", send_twice)
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3(http).put_object(Bucket=BUCKET, Key="twice", Body=b"ours", IfNoneMatch="*")
    assert body(seaweed.s3(), "twice") == b"ours"


def test_an_upload_cut_in_the_middle_leaves_no_object(http: HttpProxy, seaweed: Seaweed) -> None:
    """Half a body is not an object."""
    http.add("PUT .*/half", cut_request(after_bytes=1000))
    with pytest.raises(ConnectionClosedError):
        s3(http).put_object(Bucket=BUCKET, Key="half", Body=b"x" * 100_000)
    assert "Contents" not in seaweed.s3().list_objects_v2(Bucket=BUCKET, Prefix="half")


def test_a_download_cut_in_the_middle_is_noticed(http: HttpProxy) -> None:
    """Fewer bytes than the head promises."""
    client = s3(http)
    client.put_object(Bucket=BUCKET, Key="long", Body=b"x" * 100_000)
    http.add("GET .*/long", cut_answer(after_bytes=10))
    with pytest.raises(HTTPClientError):
        body(client, "long")


def test_a_fault_strikes_those_that_it_is_told_to(http: HttpProxy) -> None:
    """The first may pass, then each second, so many times in all."""
    http.add("HEAD .*/gone", answer(500), times=2, after=1, every=2)
    for _ in range(7):
        with pytest.raises(ClientError):
            s3(http).head_object(Bucket=BUCKET, Key="gone")
    assert [status for _, status in http.seen] == [404, 500, 404, 500, 404, 404, 404]
    http.heal()


def test_an_action_of_a_tests_own_looks_at_the_request(http: HttpProxy, seaweed: Seaweed) -> None:
    """An action is a function: this one refuses what has a word in its body, after a while."""

    def action(exchange: Exchange) -> Answer:
        return Answer(403) if b"secret" in exchange.body else delay(0.01)(exchange)

    http.add("PUT .*/word", action, times=None)
    with pytest.raises(ClientError, match="403"):
        s3(http).put_object(Bucket=BUCKET, Key="word", Body=b"a secret")
    s3(http).put_object(Bucket=BUCKET, Key="word", Body=b"a word")
    assert body(seaweed.s3(), "word") == b"a word"
