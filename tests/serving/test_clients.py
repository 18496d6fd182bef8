import pytest

from serving import clients


def header(text: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"x"), (b"x-forwarded-for", text.encode())]


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ("8.8.8.8", "8.8.8.8"),
        ("1.1.1.1, 8.8.8.8", "8.8.8.8"),  # the left one was written by the visitor
        ("1.1.1.1, 8.8.8.8, 10.1.2.3, 192.168.0.7", "8.8.8.8"),
        ("2a02:908:1:2:3:4:5:6", "2a02:908:1:2::"),
        ("8.8.8.8, nonsense", "10.0.0.1"),
        ("", "10.0.0.1"),
        ("\x00\xff", "10.0.0.1"),
    ],
)
def test_behind_a_proxy_the_last_public_address_counts(forwarded: str, expected: str) -> None:
    assert clients.address("10.0.0.1", header(forwarded), proxies=1) == expected


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ("192.168.1.5, 10.0.0.2", "192.168.1.5"),
        ("192.168.1.6, 10.0.0.2", "192.168.1.6"),
        ("9.9.9.9, 192.168.1.6, 10.0.0.2", "192.168.1.6"),  # the left one is its own writing
        ("8.8.8.8:5000, 1.1.1.1", "8.8.8.8"),  # behind a public one, too
        ("192.168.1.5", "192.168.1.5"),  # who knows the inner proxy's address
        ("nonsense, 10.0.0.2", "10.0.0.2"),
        ("", "10.0.0.1"),
    ],
)
def test_behind_two_proxies_counts_whom_the_first_saw(forwarded: str, expected: str) -> None:
    assert clients.address("10.0.0.1", header(forwarded), proxies=2) == expected


def test_a_header_is_not_believed_without_a_proxy() -> None:
    assert clients.address("7.7.7.7", header("8.8.8.8")) == "7.7.7.7"


def test_several_headers_are_one_list() -> None:
    headers = header("1.1.1.1") + header("8.8.8.8")

    assert clients.address("10.0.0.1", headers, proxies=1) == "8.8.8.8"


def test_a_network_of_ipv6_is_one_client() -> None:
    first, second = (clients.address(f"2a02:908:1:2::{end}", []) for end in ("1", "ffff"))

    assert first == second != clients.address("2a02:908:1:3::1", [])
    assert clients.address("::ffff:8.8.8.8", []) == "8.8.8.8"


def test_a_bucket_allows_a_burst_and_then_a_rate() -> None:
    now = [0.0]
    buckets = clients.TokenBuckets(burst=3, per_second=2, clock=lambda: now[0])

    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.take("b") == 0
    now[0] = 0.5
    assert buckets.take("a") == 0
    assert buckets.take("a") == 0.5
    now[0] = 100
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_what_costs_more_than_a_burst_takes_the_whole_burst() -> None:
    buckets = clients.TokenBuckets(burst=3, per_second=1, clock=lambda: 0.0)

    assert buckets.take("a", 100) == 0
    assert buckets.take("a", 100) == 3


def test_clients_are_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "REMEMBERED", 2)
    buckets = clients.TokenBuckets(burst=1, per_second=0.001)

    for client in "abca":
        assert buckets.take(client) == 0
    assert buckets.take("c") > 0
