"""Which URLs and addresses a callback may have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cueapi.domain.errors import Refusal
from cueapi.domain.target import Reach, Rules, check_address, check_addresses, check_url
from cueapi.domain.url import read_place

DEVELOPMENT = Rules()
PRODUCTION = Rules(production=True, base_url="https://cues.example")


def rules(allow: str, *, production: bool = False) -> Rules:
    return Rules(production=production, allow=Rules.parse_allow(allow))


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("https://handler.example", "handler.example", 443, "/"),
        ("HTTP://Handler.EXAMPLE.:8080/a?b=c#d", "handler.example", 8080, "/a?b=c"),
        ("https://handler.example?x", "handler.example", 443, "/?x"),
        ("https://bücher.example/ä?ö", "xn--bcher-kva.example", 443, "/%C3%A4?%C3%B6"),
        ("https://my_service:1/", "my_service", 1, "/"),
        ("https://[2606:4700::1111]:8443/", "2606:4700::1111", 8443, "/"),
        ("https://0x08.010.2056/", "8.8.8.8", 443, "/"),
        ("https://８．８．８．８/", "8.8.8.8", 443, "/"),
        ("https://134744072/", "8.8.8.8", 443, "/"),
    ],
)
def test_a_url_is_read_in_one_way(url: str, host: str, port: int, path: str) -> None:
    target = check_url(url, DEVELOPMENT)

    assert (target.host, target.port, target.path) == (host, port, path)
    assert target.reach is Reach.PUBLIC


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("https://a.example:443/", "a.example"),
        ("http://a.example:443/", "a.example:443"),
        ("http://[2606:4700::1111]:81/", "[2606:4700::1111]:81"),
    ],
)
def test_the_host_header_names_a_port_that_is_not_the_usual_one(url: str, authority: str) -> None:
    assert check_url(url, DEVELOPMENT).authority == authority


@pytest.mark.parametrize(
    "url",
    [
        "",
        "handler.example",
        "ftp://handler.example",
        "https:///path",
        "https://",
        "https://user@handler.example",
        "https://user:secret@handler.example",
        "https://handler.example@10.0.0.1",
        "https://handler.example:0",
        "https://handler.example:65536",
        "https://handler.example:8x",
        "https://handler.example:１",
        "https://handler.example:80:80",
        "https://handler.example/a b",
        "https://handler.example/a\nb",
        "https://handler.example\\@evil.example",
        "https://handler.example/\x00",
        "https://handler.example/\ud800",
        "https://handler.example/\u2028",
        " https://handler.example",
        "https://handler..example",
        "https://handler.example..",
        "https://.",
        "https://-handler.example",
        "https://hand%6cer.example",
        "https://[::1%25eth0]/",
        "https://[fe80::1%eth0]/",
        "https://[v1.fe]/",
        "https://[1.2.3.4]/",
        "https://1.2.3.4.5/",
        "httpſ://handler.example/",
        "https://1.2.3.256/",
        "https://1.2.3.08/",
        "https://1_0.1/",
        "https://handler.0x7f/",
        "https://4294967296/",
        "https://" + "a" * 64 + ".example",
        "https://handler.example/" + "a" * 2025,
    ],
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(Refusal) as refused:
        check_url(url, DEVELOPMENT)

    assert refused.value.code == "invalid_callback_url"


def test_a_url_of_2048_characters_is_taken() -> None:
    url = "https://handler.example/".ljust(2048, "a")

    assert check_url(url, DEVELOPMENT).host == "handler.example"


def test_the_code_of_a_refusal_is_the_callers() -> None:
    with pytest.raises(Refusal) as refused:
        check_url("http://10.0.0.1/", DEVELOPMENT, "invalid_alert_webhook_url")

    assert refused.value.code == "invalid_alert_webhook_url"
    assert refused.value.message == (
        "10.0.0.1 is a private address; the operator can open it with CALLBACK_ALLOW=10.0.0.1"
    )


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST.",
        "loc\u00adalhost",
        "ｌocalhost",
        "a.localhost",
        "metadata.google.internal",
        "metadata.internal",
        "0.0.0.0",
        "0.1.2.3",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "127.1",
        "127.0.1",
        "0",
        "2130706433",
        "017700000001",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "0x7F000001",
        "0x7f.1",
        "127.0.0.1.",
        "１２７.0.0.1",
        "127。0。0。1",
        "①②⑦.0.0.1",
        "[::]",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[::8.8.8.8]",
        "[::ffff:0:7f00:1]",
        "[2002:7f00:1::]",
        "[2002:0a00:0001::1]",
        "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
        "[64:ff9b::10.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::1]",
        "[64:ff9b:1::808:808]",
        "[100::1]",
        "[2001:2::1]",
        "[2001:10::1]",
        "[2001:db8::1]",
        "[3fff::1]",
        "[5f00::1]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "[fec0::1]",
        "[ff02::1]",
        "[4000::1]",
    ],
)
@pytest.mark.parametrize("where", [DEVELOPMENT, PRODUCTION], ids=["development", "production"])
def test_what_is_not_globally_routable_is_refused_in_every_spelling(host: str, where: Rules) -> None:
    with pytest.raises(Refusal, match=r"is a private address($|; the operator can open it with CALLBACK_ALLOW=)"):
        check_url(f"https://{host}/hook", where)


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"],
)
def test_a_public_address_may_be_called(address: str) -> None:
    target = check_url("https://handler.example/", PRODUCTION)

    assert check_addresses([address], target, PRODUCTION) == [address]


def test_one_blocked_address_blocks_the_name() -> None:
    target = check_url("https://handler.example/", PRODUCTION)

    with pytest.raises(Refusal, match=r"handler.example \(10.0.0.1\) is a private address"):
        check_addresses(["8.8.8.8", "10.0.0.1"], target, PRODUCTION)


def test_production_takes_https_only() -> None:
    with pytest.raises(Refusal, match="https"):
        check_url("http://handler.example/", PRODUCTION)
    with pytest.raises(Refusal, match="https"):
        check_url("http://8.8.8.8/", rules("10.0.0.0/8", production=True))


class TestCallbackAllow:
    def test_a_cidr_opens_its_addresses_for_every_name(self) -> None:
        opened = rules("10.0.0.0/8, fd00::/8")

        for url in (
            "http://handler.example/",
            "http://metadata.internal/",
            "http://10.1.1.1/",
            "http://[fd00::1]/",
        ):
            target = check_url(url, opened)
            assert check_address("10.1.1.1", target, opened) is None
            assert check_address("10.1.1.1", target, opened) is None
            assert check_address("::ffff:10.1.1.1", target, opened) is None
            assert check_address("192.168.0.1", target, opened) is not None

    def test_loopback_opened_by_cidr_opens_localhost_at_the_addresses_that_are_open(self) -> None:
        opened = rules("127.0.0.0/8")
        target = check_url("http://localhost/", opened)

        assert check_addresses(["::1", "127.0.0.1"], target, opened) == ["127.0.0.1"]
        with pytest.raises(Refusal, match=r"localhost \(::1\) is a private address"):
            check_addresses(["::1"], target, opened)

    def test_a_blocked_name_is_not_opened_by_a_public_address(self) -> None:
        opened = rules("10.0.0.0/8")
        target = check_url("http://metadata.internal/", opened)

        assert "private" in (check_address("8.8.8.8", target, opened) or "")

    def test_a_name_opens_whatever_it_resolves_to(self) -> None:
        opened = rules("Handler.Internal., localhost")

        for url in ("http://handler.internal:9/", "http://localhost/"):
            assert check_addresses(["127.0.0.1", "10.0.0.1", "8.8.8.8"], check_url(url, opened), opened)
        with pytest.raises(Refusal):
            check_addresses(["10.0.0.1"], check_url("http://other.internal/", opened), opened)

    @pytest.mark.parametrize(
        ("allow", "host"),
        [
            ("127.0.0.1:9000", "127.0.0.1"),
            ("127.0.0.0/8:9000", "127.0.0.1"),
            ("[::1]:9000", "[::1]"),
            ("[fd00::/8]:9000", "[fd00::5]"),
            ("host.docker.internal:9000", "host.docker.internal"),
        ],
    )
    def test_an_entry_with_a_port_opens_that_port_only(self, allow: str, host: str) -> None:
        opened = rules(allow)
        address = host.strip("[]") if host != "host.docker.internal" else "172.17.0.1"

        for port, allowed in ((9000, True), (9001, False), (80, False)):
            try:
                target = check_url(f"http://{host}:{port}/", opened)
                reachable = check_address(address, target, opened) is None
            except Refusal:
                reachable = False
            assert reachable is allowed

    @pytest.mark.parametrize(
        "url",
        [
            "http://169.254.169.254/",
            "http://metadata.google.internal/",
            "http://[fe80::1]/",
            "http://168.63.129.16/",
            "http://[64:ff9b::a83f:8110]/",
            "http://[fd20:ce::254]/",
            "http://[fd00:ec2::254]/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://[64:ff9b:1::a9fe:a9fe]/",
            "http://[::ffff:a9fe:a9fe]/",
            "http://[::a9fe:a9fe]/",
            "http://[2002:a9fe:a9fe::]/",
            "http://[2002:a9fe:a9fe::1]/",
        ],
    )
    def test_no_message_advises_to_open_a_metadata_service(self, url: str) -> None:
        with pytest.raises(Refusal) as refused:
            check_url(url, DEVELOPMENT)

        assert "CALLBACK_ALLOW" not in refused.value.message

    def test_what_it_opens_may_be_http_in_production(self) -> None:
        opened = rules("10.0.0.0/8,handler.internal", production=True)

        assert check_url("http://handler.internal/", opened).reach is Reach.ANY
        assert check_url("http://10.0.0.1/", opened).host == "10.0.0.1"
        named = check_url("http://other.internal/", opened)
        assert check_address("10.0.0.1", named, opened) is None
        assert "https" in (check_address("8.8.8.8", named, opened) or "")

    @pytest.mark.parametrize(
        "text",
        [
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10/8",
            "*.example",
            "http://a",
            "a:0",
            "a:65536",
            "a:b",
            "10.0.0.0/8:",
            "[10.0.0.0/8",
            "a b",
            "127.1",
            "0x7f.1",
            "a..b",
            "/",
        ],
    )
    def test_nonsense_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"neither a name nor a CIDR|host bits"):
            Rules.parse_allow(f"10.0.0.0/8,{text}")

    def test_nothing_opens_nothing(self) -> None:
        assert Rules.parse_allow(" , ") == Rules.parse_allow("")


class TestEcho:
    @pytest.mark.parametrize(
        "url",
        [
            "http://localhost:8000/v1/echo/abcdefghijklmnop",
            "http://127.0.0.1:8000/v1/echo/abcdefghijklmnop?x=1",
            "http://[::1]:8000/v1/echo/a.b_c~d-e",
        ],
    )
    def test_the_servers_own_echo_is_open_at_loopback_in_production_too(self, url: str) -> None:
        target = check_url(url, PRODUCTION)

        assert check_address("127.0.0.1", target, PRODUCTION) is None
        assert check_address("::1", target, PRODUCTION) is None
        assert check_address("10.0.0.1", target, PRODUCTION) is not None

    def test_the_servers_own_echo_is_open_by_base_url(self) -> None:
        home = Rules(production=True, base_url="http://cues.internal/cue/")

        assert check_url("http://cues.internal/cue/v1/echo/abc", home).reach is Reach.ANY
        with pytest.raises(Refusal):
            check_url("http://cues.internal/v1/echo/abc", home)

    @pytest.mark.parametrize(
        "path",
        [
            "/",
            "/v1/echo",
            "/v1/echo/",
            "/v1/echo/..",
            "/v1/echo/../cues",
            "/v1/echo/./../cues",
            "/v1/echo/%2e%2e/cues",
            "/v1/echo/%2E%2E%2Fcues",
            "/v1/echo/a/../../cues",
            "/v1/echo/a/b",
            "/v1/echo//a",
            "//v1/echo/abc",
            "/x/../v1/echo/abc",
            "/v1/ech%6f/abc",
            "/v1/cues?/v1/echo/abc",
            "/v1/cues#/v1/echo/abc",
        ],
    )
    def test_nothing_else_of_the_server_is_open(self, path: str) -> None:
        with pytest.raises(Refusal):
            check_url(f"http://localhost:8000{path}", DEVELOPMENT)

    @pytest.mark.parametrize("origin", ["http://localhost:8001", "http://127.0.0.2:8000", "https://localhost:8000"])
    def test_no_other_server_on_this_machine_is_open(self, origin: str) -> None:
        with pytest.raises(Refusal):
            check_url(f"{origin}/v1/echo/abcdefghijklmnop", DEVELOPMENT)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for url in (text, f"https://{text}", f"https://a.example/{text}", f"http{text[:1]}://a.example/"):
        try:
            target = check_url(url, DEVELOPMENT)
        except Refusal:
            continue
        assert f"{target.host}{target.path}".isascii()


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_the_same_in_every_spelling(address: object) -> None:
    number = int(address)  # type: ignore[call-overload]
    spellings = [
        str(address),
        str(number),
        hex(number),
        oct(number).replace("0o", "0"),
        f"[::ffff:{address}]",
    ]

    verdicts = set()
    for spelling in spellings:
        try:
            verdicts.add(bool(check_url(f"https://{spelling}/", PRODUCTION)))
        except Refusal:
            verdicts.add(False)
    assert len(verdicts) == 1


def test_an_address_in_disguise_is_told_to_be_opened_as_what_it_is() -> None:
    with pytest.raises(Refusal, match=r"CALLBACK_ALLOW=127\.0\.0\.1$"):
        check_url("http://[::ffff:127.0.0.1]/", Rules())

    assert check_url("http://[::ffff:127.0.0.1]/", Rules(allow=Rules.parse_allow("127.0.0.1"))).port == 80


ONE_PLACE = (
    "https://agent.example.com/run", "HTTPS://Agent.Example.COM/", "https://agent.example.com.:443", "https://agent.example.com:0443/x?y",
    "https://ａｇｅｎｔ.example.com/",
)  # fmt: skip


@pytest.mark.parametrize("url", ONE_PLACE)
def test_however_its_url_is_written_a_host_is_one_target(url: str) -> None:
    target = check_url(url, Rules())

    assert f"{target.host}:{target.port}" == "agent.example.com:443"


PLACES = {
    "Agent.Example.Com.:443": "agent.example.com:443",
    "bücher.example:8443": "xn--bcher-kva.example:8443",
    "127.1:080": "127.0.0.1:80",
    "[::1]:9": "::1:9",
    "0:0::1:9": "::1:9",
}


@pytest.mark.parametrize(("written", "called"), PLACES.items())
def test_a_place_is_read_however_it_is_written(written: str, called: str) -> None:
    assert read_place(written) == read_place(called) == called


NO_PLACES = (
    "", "a.example", ":443", "a.example:", "a.example:0", "a.example:65536", "a/b:1", "a@b:1", "a.example:٤", "a b:1",
    "http://a.example:1", "a.example:" + "9" * 5000,
)  # fmt: skip


@pytest.mark.parametrize("text", NO_PLACES)
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_place(text)
