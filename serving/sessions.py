"""Which sessions of pages and calls are kept, so that no client crowds out another."""

from collections import OrderedDict, defaultdict
from collections.abc import Callable

PER_CLIENT = 60  # sessions: open pages, and calls whose answers were not fetched yet
ALTOGETHER = 2_000


class Full(Exception):  # noqa: N818 -- it is the client that has too many
    """All sessions of a client are in use."""


class Sessions:
    """The sessions of each client; the least recently used ones are dropped first.

    A session in use is never dropped. If there are too many altogether, the client with the most
    loses one, so that made-up sessions cost only the client that makes them up.
    """

    def __init__(
        self,
        in_use: Callable[[str], bool],
        per_client: int = PER_CLIENT,
        altogether: int = ALTOGETHER,
    ) -> None:
        self._in_use = in_use
        self._per_client = per_client
        self._altogether = altogether
        self._sessions: defaultdict[str, OrderedDict[str, None]] = defaultdict(OrderedDict)
        self._owner: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._owner)

    def admit(self, client: str, session: str | None, coming: int = 0) -> None:
        """Check whether a client may use a session, while it is about to use so many others.

        Raises
        ------
        Full
            If it would be one too many, and none of the client's can be dropped.
        """
        mine = list(self._sessions.get(client, ()))
        if (
            session not in self._owner
            and len(mine) + coming >= self._per_client
            and self._idle(client) is None
        ):
            raise Full

    def use(self, client: str, session: str) -> list[str]:
        """Record that a session is used.

        Returns
        -------
        The sessions that are dropped for it.
        """
        owner = self._owner.setdefault(session, client)
        mine = self._sessions[owner]
        mine[session] = None
        mine.move_to_end(session)
        gone = []
        if len(mine) > self._per_client and (oldest := self._idle(owner, session)):
            gone.append(oldest)
        elif len(self) > self._altogether:
            for other in sorted(self._sessions, key=lambda each: -len(self._sessions[each])):
                if oldest := self._idle(other, session):
                    gone.append(oldest)
                    break
        for each in gone:
            self.drop(each)
        return gone

    def drop(self, session: str) -> None:
        """Forget a session."""
        owner = self._owner.pop(session, None)
        if owner is not None:
            self._sessions[owner].pop(session, None)
            if not self._sessions[owner]:
                del self._sessions[owner]

    def keep_only(self, sessions: set[str]) -> None:
        """Forget all sessions but these."""
        for session in set(self._owner) - sessions:
            self.drop(session)

    def _idle(self, client: str, but: str | None = None) -> str | None:
        """The session of a client to drop first."""
        mine = list(self._sessions.get(client, ()))
        return next((each for each in mine if each != but and not self._in_use(each)), None)
