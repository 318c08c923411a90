"""The one redis: is there one, and does it let us in.

Rules: one PING and nothing else; a password goes over TLS, through a socket file, or to this machine and private
networks, and nowhere else; what the server says is data and is never shown.
Fact: a redis that is asked for TLS on its plain port waits for the end of a line and says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit

from keyrotor.boundary.http import said
from keyrotor.boundary.network import addresses, is_near
from keyrotor.boundary.plaintext import unseal
from keyrotor.secret import Secret

if TYPE_CHECKING:
    from redis.asyncio import Redis

SCHEMES = ("redis", "rediss", "unix")
NOBODY = "no answer"
CONNECT = 4.0  # seconds for a connection with its TLS; the next room answers in milliseconds, the other coast in 0.3 s


@dataclass(frozen=True, slots=True)
class Pinged:
    """What came of it. Well without a `fault`; `mend` is the command to type."""

    fault: str = ""
    mend: str = ""


NO_REDIS = Pinged("what answers there is no redis")


@dataclass(frozen=True, slots=True)
class Server:
    """A redis by its address, without what opens it."""

    scheme: str
    host: str  # the path of a socket file, for `unix`
    port: int
    database: int
    user: str
    password: Secret | None

    @property
    def shown(self) -> str:
        """Where it is."""
        if self.scheme == "unix":
            return f"unix://{self.host}"
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def server(url: Secret) -> Server | None:
    """The server that an address names; None where it is no address of one."""
    import redis.asyncio  # noqa: F401  0.2 s, which would else be lost within the deadline

    try:
        address = urlsplit(unseal(url).decode())
        port, number = address.port or 6379, _database(address)
    except ValueError:
        return None
    host = unquote(address.path) if address.scheme == "unix" else address.hostname
    if address.scheme not in SCHEMES or not host or number is None:
        return None
    password = Secret(unquote(address.password).encode()) if address.password else None
    return Server(address.scheme, host, port, number, unquote(address.username or ""), password)


def _database(address: SplitResult) -> int | None:
    """`/2` behind a host, `?db=2` behind a path; 0 where nothing is said."""
    options = dict(part.partition("=")[::2] for part in address.query.split("&") if part)
    number = options.pop("db", "")
    if address.scheme != "unix":
        number = number or address.path.strip("/")
    if options:  # an option that we would not heed must not be passed over in silence
        return None
    return int(number) if number.isdigit() else None if number else 0


async def ping(found: Server) -> Pinged:
    """One PING. Says in our words what stood in its way."""
    hosts = [found.host]
    if found.scheme == "redis" and found.password is not None:
        try:
            hosts = await addresses(found.host, found.port)
        except (OSError, ValueError) as error:
            return _unreached(found, said(error))
        if not all(map(is_near, hosts)):
            return Pinged("the password was not sent: the address is public, and redis:// shows it on the way")
    pinged = Pinged()
    for host in hosts:  # a name may lead to ::1 first, where nobody listens
        pinged = await _pinged(found, host)
        if not pinged.fault.startswith(NOBODY):
            break
    return pinged


async def _pinged(found: Server, host: str) -> Pinged:
    from redis.exceptions import RedisError

    client = _client(found, host)
    try:
        if not await client.ping():
            return NO_REDIS
    except (RedisError, OSError, ValueError, EOFError) as error:
        return _judged(found, error)
    finally:
        await client.aclose()
    return Pinged()


def _client(found: Server, host: str) -> Redis:
    from redis.asyncio import Redis, retry
    from redis.backoff import NoBackoff

    where: dict[str, Any] = {"host": host, "port": found.port, "ssl": found.scheme == "rediss"}
    if found.scheme == "unix":
        where = {"unix_socket_path": found.host}
    return Redis(
        **where,
        db=found.database,
        username=found.user or None,
        password=unseal(found.password).decode("utf-8", "replace") if found.password is not None else None,
        protocol=2,  # 3 begins with a HELLO that redis before 6 does not know
        retry=retry.Retry(NoBackoff(), 0),
        socket_connect_timeout=CONNECT,
        socket_timeout=None,  # the caller's share of the time bounds the rest
    )


def _judged(found: Server, error: BaseException) -> Pinged:
    """The error in our words."""
    from redis import exceptions

    wants = Pinged("it wants a password", "keyrotor healthcheck --redis URL --redis-password KEY")
    words: tuple[tuple[type[BaseException], str, Pinged], ...] = (
        (exceptions.AuthenticationError, "without any password", Pinged("it wants no password, and was given one")),
        (exceptions.AuthenticationError, "", wants if found.password is None else Pinged("it refuses the password")),
        (exceptions.InvalidResponse, "", NO_REDIS),
        (exceptions.BusyLoadingError, "", Pinged("it is still loading its data")),
        (exceptions.NoPermissionError, "", Pinged("it lets us in, but that user may not ping")),
        (exceptions.ResponseError, "DB index", Pinged(f"it has no database {found.database}")),
        (exceptions.ResponseError, "", Pinged("it answers with an error")),
        (UnicodeError, "", Pinged(f"{NOBODY} (no such host)")),
        (ValueError, "", NO_REDIS),  # a number that is none, a line without an end
    )
    text = str(error)
    judged = (pinged for kind, part, pinged in words if isinstance(error, kind) and part in text)
    return next(judged, None) or _unreached(found, said(error))


def _unreached(found: Server, why: str) -> Pinged:
    """Nothing came, or nothing that could be read."""
    why = {"TimeoutError": "", "ConnectionError": "the connection was cut"}.get(why, why)
    if why == "the connection was cut" and found.scheme != "rediss":
        return Pinged("it cut the connection; is it a redis, and does it want TLS? (rediss://)")
    if found.scheme == "rediss" and why in ("", NOBODY, "it does not speak TLS", "the connection was cut"):
        return Pinged("no TLS there", "write redis:// instead of rediss://, if the way there is private")
    return Pinged(f"{NOBODY} within {CONNECT:g} s" if why in ("", NOBODY) else f"{NOBODY} ({why})")
