"""Questions about the machine."""

from __future__ import annotations

import os
import socket


def get_unused_port(start: int, end: int = 65536, n: int = 1) -> int | list[int]:
    """The first free TCP port in [start, end), or a list of the first `n` if `n` > 1."""
    ports: list[int] = []
    for port in range(start, end):
        if len(ports) == n:
            break
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
            try:
                s.bind(("localhost", port))
            except OSError:
                continue
            ports.append(port)
    if len(ports) < n:
        raise ValueError(f"only {len(ports)} of {n} free ports in [{start}, {end})")
    return ports[0] if n == 1 else ports


def is_inside_docker_container() -> bool:
    """Whether this process runs in a docker container."""
    return os.path.exists("/.dockerenv")
