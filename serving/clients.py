"""Clients: their addresses, and a token bucket for each."""

import ipaddress
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

REMEMBERED = 10_000  # clients; the least recently seen one is forgotten first


def address(
    peer: str | None, headers: Iterable[tuple[bytes, bytes]], behind_proxy: bool = False
) -> str:
    """The address to which limits apply; for IPv6, that of its /64 network.

    Parameters
    ----------
    peer
        Address of the other end of the connection.
    headers
        The request's, with names in lower case.
    behind_proxy
        Whether to trust `X-Forwarded-For`. Each proxy appends the address that it sees, so anything
        that the client itself wrote is to the left of its real address: the last public address
        counts, and private ones after it are proxies. If there is no public address, as in a
        private network, the last one counts. Ports are ignored.

    Examples
    --------
    >>> address("10.0.0.1", [(b"x-forwarded-for", b"1.1.1.1, 8.8.8.8, 10.0.0.9")], True)
    '8.8.8.8'
    """
    if behind_proxy:
        given = b",".join(value for name, value in headers if name == b"x-forwarded-for")
        last = None
        for text in reversed(given.decode("latin-1").split(",")):
            try:
                found = _parse(text.strip())
            except ValueError:
                break  # anyone may have written what is further left
            if found.is_global:
                return _network(found)
            last = last or found
        if last:
            return _network(last)
    try:
        return _network(ipaddress.ip_address(peer or ""))
    except ValueError:
        return "unknown"


def _parse(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Parse an address, possibly with a port: 1.2.3.4:80, [::1]:80 or [::1].

    Raises
    ------
    ValueError
        If it is not an address.
    """
    with_port = re.fullmatch(r"(?:([\d.]+)|\[([^\]]+)\])(?::\d{1,5})?", text)
    return ipaddress.ip_address((with_port[1] or with_port[2]) if with_port else text)


def _network(found: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
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
