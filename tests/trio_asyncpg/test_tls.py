"""sslmode means what libpq means by it."""

import ssl
from pathlib import Path

import asyncpg
import pytest
import trio
import trustme

from cueapi.trio_asyncpg.connection import close, connect
from cueapi.trio_asyncpg.route import TlsFailed
from tests.trio_asyncpg.relay import Relay, relay_to

UNHURRIED = 20  # seconds; only a test that hangs needs them


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def root_cert(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "root.crt"
    authority.cert_pem.write_to_path(path)
    return path


def server_tls(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    """TLS of a server whose certificate says *names*."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    context.set_alpn_protocols(["postgresql"])
    return context


def through(relay: Relay, tcp_url: str, query: str) -> str:
    """The DSN of the same server, by way of *relay*."""
    before, _, there = tcp_url.rpartition("@")
    return f"{before}@127.0.0.1:{relay.port}/{there.partition('/')[2]}?{query}"


async def works(dsn: str) -> bool:
    connection = await connect(dsn)
    answer = await connection.fetchval("select length($1::text)", "x" * 100_000)
    await close(connection)
    return bool(answer == 100_000)


@pytest.mark.parametrize(
    ("mode", "encrypted"),
    [
        ("sslmode=disable", 0),
        ("sslmode=allow", 0),
        ("sslmode=prefer", 1),
        ("", 1),
        ("sslmode=require", 1),
        ("sslmode=require&sslnegotiation=direct", 1),
        ("sslmode=verify-ca&sslrootcert={root}", 1),
        ("sslmode=verify-full&sslrootcert={root}", 1),
    ],
)
async def test_with_a_server_that_has_tls(
    tcp_url: str, authority: trustme.CA, root_cert: Path, mode: str, encrypted: int
) -> None:
    with trio.fail_after(UNHURRIED):
        async with relay_to(tcp_url, server_tls(authority, "127.0.0.1")) as relay:
            assert await works(through(relay, tcp_url, mode.format(root=root_cert)))

    assert (relay.encrypted, relay.plain) == (encrypted, 1 - encrypted)


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer"])
async def test_a_server_without_tls_will_do(tcp_url: str, mode: str) -> None:
    with trio.fail_after(UNHURRIED):
        async with relay_to(tcp_url) as relay:
            assert await works(through(relay, tcp_url, f"sslmode={mode}"))

    assert (relay.encrypted, relay.plain) == (0, 1)


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_a_server_without_tls_is_refused(tcp_url: str, root_cert: Path, mode: str) -> None:
    with trio.fail_after(UNHURRIED):
        async with relay_to(tcp_url) as relay:
            with pytest.raises(TlsFailed, match="has no TLS"):
                await connect(through(relay, tcp_url, f"sslmode={mode}&sslrootcert={root_cert}"))

    assert relay.plain == 0


@pytest.mark.parametrize("mode", ["allow", "prefer", "require"])
async def test_a_server_that_insists_on_tls_gets_it(tcp_url: str, authority: trustme.CA, mode: str) -> None:
    with trio.fail_after(UNHURRIED):
        async with relay_to(tcp_url, server_tls(authority, "127.0.0.1"), only_tls=True) as relay:
            assert await works(through(relay, tcp_url, f"sslmode={mode}"))

    assert relay.encrypted == 1


async def test_a_server_that_insists_on_tls_refuses_us_without(tcp_url: str, authority: trustme.CA) -> None:
    with trio.fail_after(UNHURRIED):
        async with relay_to(tcp_url, server_tls(authority, "127.0.0.1"), only_tls=True) as relay:
            with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match="no encryption"):
                await connect(through(relay, tcp_url, "sslmode=disable"))


async def test_a_wrong_password_is_not_hidden_by_the_refusal_of_a_connection_without_tls(
    tcp_url: str, authority: trustme.CA
) -> None:
    with trio.fail_after(UNHURRIED):
        async with relay_to(tcp_url, server_tls(authority, "127.0.0.1"), only_tls=True) as relay:
            with pytest.raises(asyncpg.InvalidPasswordError):
                await connect(f"postgresql://postgres:wrong@127.0.0.1:{relay.port}/postgres?sslmode=prefer")


# `require`, too, heeds a root certificate where there is one, as libpq does.
@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_a_certificate_of_somebody_elses_authority_is_refused(tcp_url: str, root_cert: Path, mode: str) -> None:
    with trio.fail_after(UNHURRIED):
        async with relay_to(tcp_url, server_tls(trustme.CA(), "127.0.0.1")) as relay:
            with pytest.raises(TlsFailed, match=r"self-signed|unable to get"):
                await connect(through(relay, tcp_url, f"sslmode={mode}&sslrootcert={root_cert}"))


async def test_the_name_in_the_certificate_counts_for_verify_full_only(
    tcp_url: str, authority: trustme.CA, root_cert: Path
) -> None:
    with trio.fail_after(UNHURRIED):
        async with relay_to(tcp_url, server_tls(authority, "elsewhere.example")) as relay:
            with pytest.raises(TlsFailed, match=r"127\.0\.0\.1"):
                await connect(through(relay, tcp_url, f"sslmode=verify-full&sslrootcert={root_cert}"))
            assert await works(through(relay, tcp_url, f"sslmode=verify-ca&sslrootcert={root_cert}"))


async def test_a_query_over_tls_that_is_cut_off_is_cancelled_over_tls(
    tcp_url: str, authority: trustme.CA, root_cert: Path
) -> None:
    with trio.fail_after(UNHURRIED):
        admin = await connect(tcp_url)
        async with relay_to(tcp_url, server_tls(authority, "127.0.0.1"), only_tls=True) as relay:
            dsn = through(relay, tcp_url, f"sslmode=verify-full&sslrootcert={root_cert}")
            connection = await connect(dsn)
            with trio.move_on_after(0.05):
                await connection.execute("select pg_sleep(60)")

            assert not await admin.fetchval(
                "select count(*) from pg_stat_activity where pid = $1", connection.get_server_pid()
            )
        await close(admin)

    # A cancel that overtakes its query, or is not heard of in time, is sent again.
    assert relay.encrypted >= 2
    assert relay.plain == 0


async def test_who_answers_the_question_for_tls_with_an_error_is_not_believed(tcp_url: str) -> None:
    async def answer(client: trio.SocketStream) -> None:
        async with client:
            await client.receive_some(8)
            await client.send_all(b"E\0\0\0\x10SFATAL\0C28P01\0\0")

    with trio.fail_after(UNHURRIED):
        async with trio.open_nursery() as nursery:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, answer, [listener])
            port = listener.socket.getsockname()[1]
            with pytest.raises(ConnectionError, match="did not answer whether"):
                await connect(f"postgresql://somebody@127.0.0.1:{port}/x?sslmode=prefer")
            nursery.cancel_scope.cancel()
