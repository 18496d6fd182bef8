"""Who asks, and how often: a client's address and its token buckets."""

import ipaddress
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

REMEMBERED = 10_000  # clients; who has not asked for the longest is forgotten first


def address(
    peer: str | None, headers: Iterable[tuple[bytes, bytes]], behind_proxy: bool = False
) -> str:
    """The address that limits count for; an IPv6 client stands for its /64 network.

    Parameters
    ----------
    peer
        The other end of the connection.
    headers
        The request's, with names in lower case.
    behind_proxy
        Whether `X-Forwarded-For` may be believed. Each proxy appends the address that it sees, so
        what a client wrote itself stands left of its real address: the last public one counts,
        and private ones after it are proxies. Without a public one, as in a network of its own,
        the last one counts. A port behind an address is passed over.

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
                break  # what follows to the left may be anybody's writing
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
    """An address, perhaps with a port: 1.2.3.4:80, [::1]:80 or [::1].

    Raises
    ------
    ValueError
        When it is none.
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
    """A token bucket for each client: so much at once, and so much a second in the long run."""

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
        0, or the seconds until there would be enough (nothing is taken then).
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
