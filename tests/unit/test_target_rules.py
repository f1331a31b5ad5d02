"""Where alerts may go."""

import pytest

from core.errors import Malformed
from core.secrets import ConfigError
from core.target_rules import FORBIDDEN, INVALID, UNRESOLVED, check, is_public, read

PUBLIC = {"hooks.example.org": ["93.184.215.14"], "example.org": ["93.184.215.14", "2606:2800:21f:cb07::1"]}
GOOD = {
    "jsons://hooks.example.org/zelador": "hooks.example.org",
    "jsons://user:s3cret@hooks.example.org:8443/a/b?+X-Token=abc": "hooks.example.org",
    "json://hooks.example.org": "hooks.example.org",
    "ntfys://hooks.example.org/topic?priority=high": "hooks.example.org",
    "ntfys://only-a-topic": None,
    "mailtos://ana:pass@example.org?to=plantao%40example.org": "example.org",
    "mailtos://ana:pass@nowhere.invalid?smtp=hooks.example.org&from=a%40b.org": "hooks.example.org",
    "tgram://123456789:AAE-abcdefghijklmnopqrstuvwxyz012345/-100200300": None,
    "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7/%23plantao": None,
    "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV": None,
    "whatsapp://user_5f0c/5511999990001": None,
}
BAD = [
    "",
    "not a url",
    "https://hooks.example.org/x",
    "file:///etc/passwd",
    "gopher://hooks.example.org/",
    "syslog://localhost",
    "exec://rm",
    "json:///nohost",
    "json://hooks.example.org:notaport/",
    "json://hooks.example.org/#x",
    "json://a@b@hooks.example.org/",
    "json://hooks.example.org\\@127.0.0.1/",
    "json://hooks.example.org/\r\nX: y",
    "json://hooks.example.org/ x",
    "json://hooks.example.org/?redirect=yes",
    "json://hooks.example.org/?+X-Token=a;redirect=yes",
    "json://hooks.example.org/?%72edirect=yes",
    "json://hooks.example.org/?verify=no",
    "json://hooks.example.org/?rto=600",
    "json://[::1",
    "mailtos://a:b@example.org?smtp=example.org&smtp=127.0.0.1",
    "mailtos://a:b@example.org?pgppub=http://127.0.0.1/key",
    "ntfys://hooks.example.org/topic?attach=http://127.0.0.1/",
    "slack://a/b/c?template=/etc/passwd",
    "whatsapp://user_1/not-a-number",
    "whatsapp://user_1",
    "whatsapp://token@1234/5511999990001",
    "json://" + "a" * 2_000,
]
INSIDE = [
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "ff02::1", "::ffff:127.0.0.1",
    "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "fec0::1", "no address",
]  # fmt: skip


def resolve(host: str) -> list[str]:
    if host not in PUBLIC:
        raise OSError("unknown")
    return PUBLIC[host]


@pytest.mark.parametrize(("url", "host"), GOOD.items())
def test_targets_that_may_be(url, host):
    place = check(url, resolve=resolve, allow_private=False)
    assert (place.scheme, place.host) == (url.partition(":")[0], host)


@pytest.mark.parametrize("url", BAD)
def test_targets_that_are_none(url):
    with pytest.raises(Malformed) as caught:
        check(url, resolve=lambda _: ["93.184.215.14"], allow_private=True)
    assert caught.value.code == INVALID


@pytest.mark.parametrize("url", [*GOOD, *BAD])
def test_nothing_of_a_url_shows(url):
    try:
        said = read(url).shown
    except Malformed as error:
        said = error.message
    secrets = ("s3cret", "abc", "pass@", "AAE-", "TIiajk", "JHMHI8", "99999", "169.254", "/etc/passwd")
    assert [secret for secret in secrets if secret in said] == []


@pytest.mark.parametrize("address", INSIDE)
def test_a_name_that_leads_inside_is_refused(address):
    assert not is_public(address)
    for addresses in ([address], ["93.184.215.14", address]):
        with pytest.raises(Malformed) as caught:
            check("jsons://rebound.example/", resolve={"rebound.example": addresses}.__getitem__, allow_private=False)
        assert caught.value.code == FORBIDDEN


def test_private_targets_where_the_operator_allows_them():
    assert check("json://10.0.0.9/x", resolve=resolve, allow_private=True).host == "10.0.0.9"


def test_a_name_without_address_is_refused():
    nothing: dict[str, list[str]] = {"nowhere.invalid": []}
    for found in (resolve, nothing.__getitem__):
        with pytest.raises(Malformed) as caught:
            check("jsons://nowhere.invalid/", resolve=found, allow_private=False)
        assert caught.value.code == UNRESOLVED


def test_the_server_that_mail_goes_through_is_the_one_that_counts():
    with pytest.raises(Malformed) as caught:
        check("mailtos://a:b@example.org?smtp=10.0.0.1", resolve=lambda host: [host], allow_private=False)
    assert caught.value.code == FORBIDDEN


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "2606:2800:21f:cb07::1", "::ffff:93.184.215.14", "64:ff9b::5db8:d70e"]
)
def test_public_addresses(address):
    assert is_public(address)


def test_a_wrong_target_in_the_environment_stops_the_start_without_being_quoted(settings_of):
    urls = settings_of(ALERT_URLS="jsons://hooks.example.org/a, ntfys://topic").alert_urls
    assert [url.get_secret_value() for url in urls] == ["jsons://hooks.example.org/a", "ntfys://topic"]
    with pytest.raises(ConfigError) as caught:
        settings_of(ALERT_URLS="ntfys://topic,https://s3cret.example/")
    assert str(caught.value).startswith("ALERT_URLS: entry 2: ")
    assert "s3cret" not in str(caught.value)
