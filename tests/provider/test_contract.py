"""What every provider promises: the same tests over the one in memory, and over Evolution, WPPConnect Server and the
plain broker on real sockets. What gateways differ in stands in `Gateway`."""

from uuid import uuid4

import pytest

from core.errors import (
    InstanceUnknown,
    InvalidRecipient,
    NameInUse,
    NotConnected,
    NotOffered,
    ProviderError,
    ProviderRefused,
)
from manager.providers.port import Hook, State
from tests.provider.gateways import gateways
from tests.waiting import until

WITHOUT_SECRETS = [Hook(url="http://x/", token="t", jwt_key=""), Hook(url="http://x/", token="", jwt_key="k")]


@pytest.fixture(scope="module", params=gateways().values(), ids=list(gateways()))
def gateway(request):
    with request.param() as found:
        yield found


@pytest.fixture
def provider(gateway):
    return gateway.provider


@pytest.fixture
def name():
    return f"user_{uuid4()}"


@pytest.fixture
def hook(gateway):
    return Hook(url=gateway.hook_url, token="whk_token", jwt_key="jwt-key")


@pytest.fixture
def made(provider, name, hook):
    """The name of an instance that is there, and has no phone."""
    provider.create(name, hook)
    return name


@pytest.fixture
def there(gateway, made):
    """The name of an instance that the gateway knows, and that has no phone."""
    if gateway.begins_with_connect:
        gateway.provider.connect(made)
    return made


@pytest.fixture
def paired(gateway, made):
    gateway.provider.connect(made)
    gateway.scan(made)
    state_becomes(gateway.provider, made, State.CONNECTED)
    return made


def state_becomes(provider, name, state):
    until(lambda: provider.state(name).state, lambda seen: seen is state)


def refuses_hooks(provider, name, hook):
    """Setting one does nothing, and nobody can say what it is."""
    provider.set_hook(name, hook)
    with pytest.raises(NotOffered):
        provider.hook(name)


def test_it_is_there_and_knows_our_key(provider):
    provider.ping()


def test_it_does_not_know_another_key(gateway, made, hook):
    if gateway.other_key is None:
        return  # this one has no keys
    for call in (
        gateway.other_key.ping,
        gateway.other_key.instances,
        lambda: gateway.other_key.state(made),
        lambda: gateway.other_key.create(f"{made}-2", hook),
        lambda: gateway.other_key.send_text(made, "5511999990001", "x"),
    ):
        with pytest.raises(ProviderRefused):
            call()


def test_it_says_its_version(gateway, paired):
    found = gateway.provider.version()
    assert found.startswith("2.") if gateway.says_version else found is None


def test_a_created_instance_has_no_phone(gateway, provider, name, hook):
    assert provider.create(name, hook).state is gateway.made
    assert provider.state(name).state is gateway.made
    found = provider.identity(name)
    assert found is None or found.phone is None


def test_a_name_in_use_is_said_so(provider, there, hook):
    with pytest.raises(NameInUse):
        provider.create(there, hook)


def test_all_instances_are_listed(gateway, provider, there):
    (found,) = [one for one in provider.instances() if one.name == there]
    assert (found.stored_state, found.phone) == (State.UNKNOWN if gateway.lists_names_only else gateway.made, None)


def test_a_paired_instance_is_listed_with_its_phone(gateway, provider, paired):
    if gateway.lists_names_only:
        assert provider.identity(paired).phone.isdigit()
        return
    found = until(lambda: next(one for one in provider.instances() if one.name == paired), lambda one: one.phone)
    assert found.phone.isdigit()
    assert provider.identity(paired) == found


def test_all_live_states_come_in_one_answer(gateway, provider, made, paired, hook):
    if gateway.lists_names_only:
        assert provider.states() is None
        return
    assert provider.states()[paired] is State.CONNECTED
    provider.create(f"{made}-2", hook)
    assert provider.states()[f"{made}-2"] is gateway.made


def test_connect_brings_a_qr_and_the_next_one_the_same(gateway, provider, made):
    if gateway.answers_late:
        assert provider.connect(made).pairing is None
    first = provider.connect(made)
    assert first.state is State.CONNECTING
    assert first.pairing.qr
    assert first.pairing.pairing_code is None
    assert provider.connect(made).pairing == first.pairing


def test_looking_shows_no_code_or_that_of_connect(gateway, provider, there):
    shown = provider.connect(there).pairing
    seen = provider.state(there)
    assert (seen.state, seen.pairing) == (State.CONNECTING, shown if gateway.looks_show_qr else None)


def test_connect_with_a_phone_brings_a_pairing_code(gateway, provider, made):
    found = provider.connect(made, "5511977770009").pairing
    if gateway.answers_late:
        assert (found, provider.connect(made).pairing) == (None, None)
        return
    assert bool(found.qr) is gateway.shows_both_codes
    assert len(found.pairing_code) == 8


def test_connect_while_open_brings_no_code(provider, paired):
    snapshot = provider.connect(paired)
    assert (snapshot.state, snapshot.pairing) == (State.CONNECTED, None)


def test_a_closed_one_cannot_be_restarted(provider, made):
    with pytest.raises(ProviderError) as caught:
        provider.restart(made)
    assert type(caught.value) is ProviderError


def test_an_open_one_is_open_again_after_a_restart(provider, paired):
    provider.restart(paired)
    state_becomes(provider, paired, State.CONNECTED)


def test_logging_out_closes_and_unpairs(gateway, provider, paired):
    provider.logout(paired)
    state_becomes(provider, paired, gateway.parted)
    with pytest.raises(ProviderError):
        provider.restart(paired)


def test_logging_out_where_nobody_is_does_nothing(gateway, provider, made):
    provider.logout(made)
    provider.logout(made)
    assert provider.state(made).state is gateway.made


def test_deleting_ends_it_after_a_while_and_its_name_is_free(gateway, provider, paired, hook):
    provider.delete(paired)
    state_becomes(provider, paired, State.NOT_FOUND)
    assert provider.create(paired, hook).state is gateway.made


def test_deleting_what_is_not_there_does_nothing(provider, name):
    provider.delete(name)


def test_the_state_of_an_unknown_instance_is_an_answer(provider, name):
    assert provider.state(name).state is State.NOT_FOUND


def test_everything_else_about_an_unknown_instance_is_an_error(gateway, provider, name, hook):
    if gateway.begins_with_connect:
        return  # the others say what becomes of one that is not there
    hooks = (provider.hook, lambda it: provider.set_hook(it, hook)) if gateway.has_hooks else ()
    for call in (
        provider.connect,
        provider.restart,
        provider.logout,
        lambda it: provider.send_text(it, "5511999990001", "x"),
        *hooks,
    ):
        with pytest.raises(InstanceUnknown):
            call(name)


def test_create_hands_over_our_hook(gateway, provider, made, hook):
    if not gateway.has_hooks:
        refuses_hooks(provider, made, hook)
        return
    found = provider.hook(made)
    assert (found.enabled, found.url, found.by_events) == (True, hook.url, False)
    assert (found.token, found.jwt_key, found.events) == (hook.token, hook.jwt_key, frozenset())


def test_setting_the_hook_replaces_it(gateway, provider, made, hook):
    if not gateway.has_hooks:
        refuses_hooks(provider, made, hook)
        return
    new = Hook(url=f"{hook.url}/new", token="new", jwt_key="new-key")
    provider.set_hook(made, new)
    provider.set_hook(made, new)
    found = provider.hook(made)
    assert (found.url, found.token, found.jwt_key) == (new.url, new.token, new.jwt_key)
    assert found.events == frozenset()


@pytest.mark.parametrize("bare", WITHOUT_SECRETS, ids=["no key", "no token"])
def test_a_hook_without_a_secret_is_never_sent(gateway, provider, made, name, hook, bare):
    if not gateway.has_hooks:
        refuses_hooks(provider, made, bare)
        return
    with pytest.raises(ValueError, match="token and its jwt_key"):
        provider.set_hook(made, bare)
    with pytest.raises(ValueError, match="token and its jwt_key"):
        provider.create(f"{name}-2", bare)
    assert provider.hook(made).jwt_key == hook.jwt_key
    assert provider.state(f"{name}-2").state is State.NOT_FOUND


@pytest.mark.parametrize("to", ["14155550100", "123456789012345@lid"])
def test_whom_a_gateway_does_not_reach_is_said_so(gateway, provider, paired, to):
    if gateway.sends_to_all:
        assert provider.send_text(paired, to, "Olá").message_id
    else:
        with pytest.raises(InvalidRecipient):
            provider.send_text(paired, to, "Olá")


@pytest.mark.parametrize("to", ["5511999990001", "5511999990001@s.whatsapp.net"])
def test_a_text_is_sent_to_digits_or_a_jid(provider, paired, to):
    sent = provider.send_text(paired, to, "Olá 😀")
    assert sent.message_id
    assert sent.status == "pending"


def test_a_number_without_whatsapp_is_said_so(provider, paired):
    with pytest.raises(InvalidRecipient):
        provider.send_text(paired, "5511900000000", "x")


def test_nothing_is_sent_before_a_phone_is_connected(provider, made):
    for _ in range(2):
        with pytest.raises(NotConnected):
            provider.send_text(made, "5511999990001", "x")
        provider.connect(made)


def test_nothing_is_sent_after_the_logout(gateway, provider, paired):
    provider.logout(paired)
    is_unknown = gateway.parted is State.NOT_FOUND and not gateway.begins_with_connect
    with pytest.raises(InstanceUnknown if is_unknown else NotConnected):
        provider.send_text(paired, "5511999990001", "x")
