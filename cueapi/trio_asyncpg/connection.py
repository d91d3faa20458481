"""One connection: asyncpg's own, put right where Trio would break it. Opens, closes, begins transactions."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from math import inf
from typing import Literal, TypeAlias

import asyncpg
import trio
from asyncpg import connect_utils
from asyncpg.connect_utils import SessionAttribute, _ConnectionParameters
from asyncpg.transaction import Transaction as ForeignTransaction

from cueapi.trio_asyncpg.route import Address, Route, TlsFailed, routes
from cueapi.trio_asyncpg.wire import CLEANUP_PATIENCE, Foreign, Wire

# All that can be set in an asyncpg connection, and is left to the DSN and the environment here.
LEFT_TO_DSN = [
    "host",
    "port",
    "user",
    "password",
    "passfile",
    "database",
    "ssl",
    "direct_tls",
    "target_session_attrs",
    "krbsrvname",
    "gsslib",
    "service",
    "servicefile",
    "command_timeout",
]

LONGEST_PREPARED = 64 * 1024
"""Bytes of a statement that is prepared once a connection. A longer one is parsed and planned each time anew."""

# What asyncpg asks about types that it does not know, for arrays of PostgreSQL's own types and domains over either. Its
# own statement, which looks through types within types, took longer to plan than all else that a new session does.
# Arrays come first: a domain over one needs its codec. $1 the types.
SIMPLE_TYPES = """
select t.oid, n.nspname as ns, t.typname as name, t.typtype as kind,
       nullif(t.typbasetype, 0) as basetype, of.typname as basetype_name,
       nullif(t.typelem, 0) as elemtype, of.typname as elemtype_name, of.typdelim as elemdelim,
       null as range_subtype, null as range_subtype_name, null as attrtypoids, null as attrnames
  from pg_catalog.pg_type t
  join pg_catalog.pg_namespace n on n.oid = t.typnamespace
  join pg_catalog.pg_type of on of.oid = case t.typtype when 'd' then t.typbasetype else t.typelem end
 where (t.oid = any ($1::oid[]) or t.typtype = 'd' or n.nspname = 'pg_catalog')
   and (t.typtype = 'd' or t.typcategory = 'A' and of.typcategory <> 'A')
   and of.typtype = 'b'
   and of.typnamespace = 'pg_catalog'::regnamespace
 order by t.typtype = 'd'
"""

_foreign: Foreign = connect_utils
Isolation: TypeAlias = Literal["read_committed", "read_uncommitted", "serializable", "repeatable_read"]


class Connection(asyncpg.Connection):
    """asyncpg's connection, put right where Trio, or a pooler on the way, would break it."""

    wire: Wire
    opened_at: float

    def transaction(
        self, *, isolation: Isolation | None = None, readonly: bool = False, deferrable: bool = False
    ) -> "TrioTransaction":
        """Begin and end a transaction, or a savepoint within one, with `async with`."""
        return TrioTransaction(self, isolation, readonly, deferrable)

    # Beneath fetch and execute. After `DISCARD ALL`, or behind a pooler, the server does not know what
    # asyncpg takes for prepared; asyncpg itself forgives only a result that has changed its type.
    async def _do_execute(self, *args: object, **options: object) -> Foreign:
        foreign: Foreign = super()
        try:
            return await foreign._do_execute(*args, **options)
        except asyncpg.InvalidSQLStatementNameError:
            foreign._drop_local_statement_cache()
            if self.is_in_transaction():
                raise
            return await foreign._do_execute(*args, **options)
        except asyncpg.ReadOnlySQLTransactionError:
            self._grow_old()
            raise

    # Without values it goes another way.
    async def execute(self, *args: object, **options: object) -> Foreign:
        foreign: Foreign = super()
        try:
            return await foreign.execute(*args, **options)
        except asyncpg.ReadOnlySQLTransactionError:
            self._grow_old()
            raise

    # Beneath each statement that is new to the session. At the first time all domains and arrays of the database come.
    async def _introspect_types(self, missing: Iterable[int], patience: object) -> Foreign:
        foreign: Foreign = super()
        asked = (list(missing),)
        found = await foreign._Connection__execute(SIMPLE_TYPES, asked, 0, patience, ignore_custom_codec=True)
        if {oid for oid, *_ in found[0]}.issuperset(missing):
            return found
        return await foreign._introspect_types(missing, patience)

    def _grow_old(self) -> None:
        """A fail-over went past this connection, which leads to a standby: the pool may find a better one."""
        self.opened_at = -inf


class TrioTransaction(ForeignTransaction):
    """asyncpg's transaction, which ends in order when it is cancelled, too, and does not hide why."""

    async def __aexit__(self, kind: object, error: object, traceback: object) -> None:
        if kind is None:
            await super().__aexit__(kind, error, traceback)
            return
        with trio.move_on_after(CLEANUP_PATIENCE, shield=True):
            # Where the connection is lost, the server has rolled back already.
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError):
                await super().__aexit__(kind, error, traceback)


Init: TypeAlias = Callable[[Connection], Awaitable[None]]


async def connect(
    dsn: str, *, server_settings: Mapping[str, str] | None = None, init: Init | None = None
) -> Connection:
    """
    Connect to the first host of *dsn* that takes us and is what its `target_session_attrs` asks for.

    Whatever libpq's URIs, environment variables and files say is heeded, as far as asyncpg can parse it.
    *init* prepares the new connection, say with `set_type_codec`. The caller's scope is the only deadline.
    """
    connection = await _connect_to_any(dsn, server_settings)
    try:
        if init is not None:
            await init(connection)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def close(connection: Connection) -> None:
    """Take leave politely. Returns when the server has let go, and after CLEANUP_PATIENCE at the latest."""
    try:
        if not connection.is_closed():
            with trio.move_on_after(CLEANUP_PATIENCE, shield=True):
                await connection.wire.take_leave()
    finally:
        connection.terminate()


async def abort(connection: Connection) -> None:
    """Close *connection*, also while it is in use: its query is cancelled, and the task that uses it is told."""
    try:
        if not connection.is_closed():
            with trio.move_on_after(CLEANUP_PATIENCE, shield=True):
                with suppress(OSError, trio.BrokenResourceError):
                    await connection.wire.cancel_query()
    finally:
        connection.terminate()


async def overhear(connection: Connection, heard: Callable[[], bool]) -> None:
    """Take in what the server says unasked until *heard*. Being cancelled here does no harm."""
    await connection.wire.overhear(heard)


def is_silent(connection: Connection) -> bool:
    """False when the server has said something unasked, or hung up: then ask it before you rely on it."""
    return not connection.is_closed() and connection.wire.is_silent()


async def _connect_to_any(dsn: str, server_settings: Mapping[str, str] | None) -> Connection:
    addresses, parameters, configuration = _parse(dsn, server_settings)
    wanted: SessionAttribute = parameters.target_session_attrs
    unsuited: list[Connection] = []
    last_error: Exception | None = None
    try:
        for address in addresses:
            try:
                connection = await _connect_to(address, parameters, configuration)
            except (OSError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError) as error:
                last_error = error
                continue
            unsuited.append(connection)
            if await _foreign._can_use_connection(connection, wanted):
                return unsuited.pop()
        if unsuited and wanted is SessionAttribute.prefer_standby:
            return unsuited.pop(0)
    finally:
        for connection in unsuited:
            connection.terminate()
    raise last_error or asyncpg.TargetServerAttributeNotMatched(f"no host of the DSN is {wanted.value}")


async def _connect_to(address: Address, parameters: _ConnectionParameters, configuration: Foreign) -> Connection:
    first, *others = routes(address, parameters)
    try:
        return await _connect_by(first, address, parameters, configuration)
    except (TlsFailed, asyncpg.InvalidAuthorizationSpecificationError) as error:
        if not others:
            raise
        refusal = error
    try:
        return await _connect_by(others[0], address, parameters, configuration)
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        # "no entry in pg_hba.conf" on the second way must not hide a wrong password on the first.
        if isinstance(refusal, asyncpg.InvalidPasswordError):
            raise refusal from None
        raise error from refusal


async def _connect_by(
    route: Route, address: Address, parameters: _ConnectionParameters, configuration: Foreign
) -> Connection:
    wire = Wire(await route.dial(), route)
    protocol = await wire.greet(address, parameters)
    loop: Foreign = wire
    connection = Connection(protocol, wire, loop, address, configuration, parameters)
    protocol.set_connection(connection)
    connection.wire = wire
    connection.opened_at = trio.current_time()
    return connection


def _parse(dsn: str, server_settings: Mapping[str, str] | None) -> Foreign:
    """Addresses, connection parameters and asyncpg's own configuration."""
    return _foreign._parse_connect_arguments(
        dsn=dsn,
        server_settings=None if server_settings is None else dict(server_settings),
        statement_cache_size=100,
        max_cached_statement_lifetime=0,  # for ever: anything else wants the loop's timers
        max_cacheable_statement_size=LONGEST_PREPARED,
        **dict.fromkeys(LEFT_TO_DSN),
    )
