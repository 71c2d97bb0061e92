"""A proxy in front of an MLflow server that breaks some of the requests that pass through it."""

# ruff: noqa: ARG001  all faults have the same arguments

import contextlib
import functools
import socket
import threading
from collections.abc import Callable

Requests = Callable[[int, bytes], bool]  # whether a request is broken, by its number since the fault began and content

LOGIN_PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 26\r\n\r\n<html>Please log in.</html>"


def all_requests(number: int, request: bytes) -> bool:
    return True


def no_requests(number: int, request: bytes) -> bool:
    return False


def uploads(number: int, request: bytes) -> bool:
    return request.startswith(b"PUT")


def every_third_request(number: int, request: bytes) -> bool:
    return number % 3 == 0


def only_request(which: int) -> Requests:
    return lambda number, _: number == which


def requests_from(first: int) -> Requests:
    return lambda number, _: number >= first


class Proxy:
    """Passes requests on to a server, one per connection, until `break_requests` is called."""

    def __init__(self, server_port: int) -> None:
        self.server_port, self.port = server_port, 0
        self.fault: str | None = None
        self.is_broken: Requests = no_requests
        self.requests = self.broken = 0  # since the fault began
        self.repaired = threading.Event()
        self._listen()

    def break_requests(self, fault: str, which: Requests) -> None:
        self.fault, self.is_broken, self.requests = fault, which, 0
        if fault == "refused" and which(0, b""):
            self.stop_listening()

    def repair(self) -> None:
        self.is_broken = no_requests
        self.repaired.set()
        self.repaired = threading.Event()
        if self.listener.fileno() < 0:
            self._listen()

    def close(self) -> None:
        self.repair()
        self.stop_listening()

    def stop_listening(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self.listener.close()

    def answer(self, request: bytes) -> bytes:
        """The server's answer."""
        head, end, body = request.partition(b"\r\n\r\n")
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
        with socket.create_connection(("127.0.0.1", self.server_port)) as server:
            server.sendall(b"\r\n".join([*lines, b"Connection: close"]) + end + body)
            return b"".join(iter(functools.partial(server.recv, 65536), b""))

    def _listen(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # it was closed
            while True:
                threading.Thread(target=self._serve, args=(listener.accept()[0],), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            request = _read_request(client)
            if not request:
                return
            self.requests += 1
            broken = self.is_broken(self.requests, request)
            self.broken += broken
            FAULTS[self.fault if broken else None](self, client, request, self.repaired)


def _read_request(client: socket.socket) -> bytes:
    """A whole request; empty if the client breaks off."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += (more := client.recv(65536))
        if not more:
            return b""
    head, _, body = received.partition(b"\r\n\r\n")
    (length,) = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")] or [0]
    while len(body) < length:
        body += (more := client.recv(65536))
        if not more:
            return b""
    return head + b"\r\n\r\n" + body


def _pass_on(proxy: Proxy, client: socket.socket, request: bytes, repaired: threading.Event) -> None:
    client.sendall(proxy.answer(request))


def _refuse(proxy: Proxy, client: socket.socket, request: bytes, repaired: threading.Event) -> None:
    proxy.stop_listening()


def _hang(proxy: Proxy, client: socket.socket, request: bytes, repaired: threading.Event) -> None:
    repaired.wait(60)


def _do_and_hang(proxy: Proxy, client: socket.socket, request: bytes, repaired: threading.Event) -> None:
    proxy.answer(request)
    repaired.wait(60)


def _fail(proxy: Proxy, client: socket.socket, request: bytes, repaired: threading.Event) -> None:
    client.sendall(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")


def _cut_answer(proxy: Proxy, client: socket.socket, request: bytes, repaired: threading.Event) -> None:
    client.sendall(_first_half(proxy.answer(request)))


def _cut_request(proxy: Proxy, client: socket.socket, request: bytes, repaired: threading.Event) -> None:
    """The server gets half of an upload, the client no answer."""
    with socket.create_connection(("127.0.0.1", proxy.server_port)) as server:
        server.sendall(_first_half(request))


def _first_half(message: bytes) -> bytes:
    """The head and half of the body."""
    body = message.partition(b"\r\n\r\n")[2]
    return message[: len(message) - len(body) // 2 - 1]


def _answer_slowly(proxy: Proxy, client: socket.socket, request: bytes, repaired: threading.Event) -> None:
    for byte in proxy.answer(request):
        client.sendall(bytes([byte]))
        if repaired.wait(0.2):
            return


def _answer_login_page(proxy: Proxy, client: socket.socket, request: bytes, repaired: threading.Event) -> None:
    client.sendall(LOGIN_PAGE)


def _answer_foreign_json(proxy: Proxy, client: socket.socket, request: bytes, repaired: threading.Event) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]")


def _answer_garbage(proxy: Proxy, client: socket.socket, request: bytes, repaired: threading.Event) -> None:
    client.sendall(bytes(range(256)) * 4)


FAULTS: dict[str | None, Callable[[Proxy, socket.socket, bytes, threading.Event], None]] = {
    None: _pass_on,
    "refused": _refuse,
    "hanging": _hang,
    "done, then hanging": _do_and_hang,
    "error 500": _fail,
    "answer cut": _cut_answer,
    "request cut": _cut_request,
    "a byte at a time": _answer_slowly,
    "login page": _answer_login_page,
    "foreign JSON": _answer_foreign_json,
    "garbage": _answer_garbage,
}
