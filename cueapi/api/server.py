"""Hypercorn: serves the app on a socket that was bound before anything else began."""

import logging
import socket

import trio
from attrs import frozen
from hypercorn.config import Config
from hypercorn.trio import serve
from quart_trio import QuartTrio

GRACE = 1.0
"""Seconds that requests under way have when the server ends; an idle kept-alive connection costs them all."""


@frozen
class Server:
    """The API as a sibling. Ends when it is cancelled, after the requests under way."""

    app: QuartTrio
    socket: socket.socket

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Serve."""
        ending = trio.Event()
        async with trio.open_nursery() as nursery:
            scope = await nursery.start(self._serve, ending, name="api: serve")
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                ending.set()
                scope.deadline = trio.current_time() + GRACE + 1

    async def _serve(self, ending: trio.Event, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
        # Shielded, with the deadline that `run` sets: a stop lets answers out that are on their way.
        with trio.CancelScope(shield=True) as scope:
            async with trio.open_nursery() as nursery:
                await nursery.start(
                    lambda task_status: serve(
                        self.app,
                        self._config(),
                        mode="asgi",
                        shutdown_trigger=ending.wait,
                        task_status=task_status,
                    )
                )
                task_status.started(scope)

    def _config(self) -> Config:
        config = Config()
        # Hypercorn closes the descriptor that it is given; the socket is ours.
        config.bind = [f"fd://{self.socket.dup().detach()}"]
        config.graceful_timeout = GRACE
        config.include_server_header = False
        config.keep_alive_timeout = 75
        config.keep_alive_max_requests = 1_000_000
        config.max_app_queue_size = 10
        config.errorlog = logging.getLogger("hypercorn.error")
        config.accesslog = None
        return config


class CannotListen(Exception):
    """The address cannot be listened on; the message is one line."""


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens on *host* and *port*; port 0 takes a free one."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, proto)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(1024)
    except OSError as error:
        raise CannotListen(f"Cannot listen on {host} port {port}: {error.strerror or error}.") from error
    bound.setblocking(False)
    return bound
