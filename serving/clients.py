"""Clients: their addresses, and a token bucket for each."""

import ipaddress
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

REMEMBERED = 10_000  # clients; the least recently seen one is forgotten first
LONGEST_CHAIN = 20  # addresses of a request's proxies that are read

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


def address(peer: str | None, headers: Iterable[tuple[bytes, bytes]], proxies: int = 0) -> str:
    """The address to which limits apply; for IPv6, that of its /64 network.

    Parameters
    ----------
    peer
        Address of the other end of the connection.
    headers
        The request's, with names in lower case.
    proxies
        The number of proxies that all requests pass through. Each appends the address that it sees
        to `X-Forwarded-For`, so anything that the client itself wrote is to the left of its real
        address. From two proxies on, the address that the outermost one saw counts. With one, the
        last public address counts, and private ones after it are further proxies; if there is no
        public address, as in a private network, the last one counts. Ports are ignored.

    Examples
    --------
    >>> address("10.0.0.1", [(b"x-forwarded-for", b"1.1.1.1, 8.8.8.8, 10.0.0.9")], 1)
    '8.8.8.8'
    >>> address("10.0.0.1", [(b"x-forwarded-for", b"8.8.8.8, 10.0.0.7, 10.0.0.9")], 2)
    '10.0.0.7'
    """
    if proxies:
        given = b",".join(value for name, value in headers if name == b"x-forwarded-for")
        seen = list(_from_the_right(given.decode("latin-1").split(",")[-LONGEST_CHAIN:]))
        if seen and proxies > 1:
            return _network(seen[min(proxies, len(seen)) - 1])
        if seen:
            return _network(next((each for each in seen if each.is_global), seen[0]))
    try:
        return _network(ipaddress.ip_address(peer or ""))
    except ValueError:
        return "unknown"


def _from_the_right(texts: list[str]) -> Iterator[Address]:
    """Addresses, the last one first; anyone may have written what is left of an invalid one."""
    for text in reversed(texts):
        try:
            yield _parse(text.strip())
        except ValueError:
            return


def _parse(text: str) -> Address:
    """Parse an address, possibly with a port: 1.2.3.4:80, [::1]:80 or [::1].

    Raises
    ------
    ValueError
        If it is not an address.
    """
    with_port = re.fullmatch(r"(?:([\d.]+)|\[([^\]]+)\])(?::\d{1,5})?", text)
    return ipaddress.ip_address((with_port[1] or with_port[2]) if with_port else text)


def _network(found: Address) -> str:
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False).network_address)
    return str(found)


class TokenBuckets:
    """A token bucket for each client: a burst, and a rate per second in the long run."""

    def __init__(
        self, burst: float, per_second: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.burst = burst
        self.per_second = per_second
        self._clock = clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str, cost: float = 1) -> float:
        """Take tokens if there are enough.

        Returns
        -------
        0, or the seconds until there will be enough (then nothing is taken).
        """
        now = self._clock()
        level, last = self._levels.pop(client, (self.burst, now))
        level = min(self.burst, level + (now - last) * self.per_second)
        cost = min(cost, self.burst)
        missing = cost - level
        self._levels[client] = (level if missing > 0 else level - cost, now)
        while len(self._levels) > REMEMBERED:
            self._levels.popitem(last=False)
        return missing / self.per_second if missing > 0 else 0.0
