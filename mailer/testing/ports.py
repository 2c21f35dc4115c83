"""Ports for servers that tests stop and start again."""

import errno
import secrets
import socket

# Below the range from which systems take the ports of outgoing connections (Linux 32768-60999,
# macOS 49152-65535). While a server on an ephemeral port is down, a client that keeps trying to
# reach it may be given that very port, connect to itself, and keep the server from returning.
_PORTS = range(16_384, 32_768)
_TRIES = 100


def listening_socket(host: str, port: int = 0) -> socket.socket:
    """Return a TCP socket bound to ``port``, or to a free port of our choice if that is 0."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(_TRIES):
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port or secrets.choice(_PORTS)))
        except OSError as error:
            listener.close()
            if port or error.errno != errno.EADDRINUSE:
                raise
        else:
            return listener
    raise OSError(errno.EADDRINUSE, f"found no free port on {host} in {_TRIES} tries")


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port on which nothing listens now; another process may still be quicker."""
    with listening_socket(host) as listener:
        port: int = listener.getsockname()[1]
        return port
