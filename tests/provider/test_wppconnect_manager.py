"""The manager over WPPConnect Server: nothing is there before the first start, and a logout leaves nothing."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from core.errors import NotConnected
from manager.gateways import Gateways
from manager.leases import Leases
from manager.lifecycle import Lifetimes, Status
from manager.providers.port import State
from manager.providers.wppconnect.client import WppConnectClient
from manager.service import CLOSE, DELETE, LOGOUT, WhatsAppManager
from manager.upstream import Upstream
from tests.conftest import KEY
from tests.factories import hook_keys
from tests.provider.wppconnect_server import PHONE, WppConnectServer


@dataclass(frozen=True, kw_only=True)
class House:
    """A manager whose waits take no time, over a stand-in, and a user with a profile."""

    server: WppConnectServer
    provider: WppConnectClient
    manager: WhatsAppManager
    user: UUID

    @property
    def name(self) -> str:
        return f"user_{self.user}"

    def pair(self) -> None:
        self.manager.connect_user_whatsapp(self.user)
        self.server.scan(self.name)
        assert self.manager.connect_user_whatsapp(self.user).already_connected


@pytest.fixture
def house(system):
    user = uuid4()
    with system.transaction() as connection:
        connection.execute(text("INSERT INTO profiles (id, email) VALUES (:id, 'ana@x')"), {"id": user})
    with WppConnectServer(KEY).serving() as server:
        provider = WppConnectClient(server.url, KEY)
        upstream = Upstream(
            transaction=system.transaction,
            provider=provider,
            vault=system.vault,
            webhook_base=f"{server.url}/nowhere",
            name="wppconnect",
            secret_path=True,
            sleep=lambda _: None,
        )
        manager = WhatsAppManager(
            system.transaction,
            Gateways.one(upstream),
            Leases(system.transaction, lambda _: None),
            system.clock,
            lifetimes=Lifetimes(qr=timedelta(seconds=45)),
            rung=lambda _: None,
            sleep=lambda _: None,
        )
        yield House(server=server, provider=provider, manager=manager, user=user)


def test_an_instance_that_was_only_made_asks_nothing_of_the_server(house):
    house.manager.create_user_instance(house.user)
    assert house.manager.find_user_instance(house.user).hooked
    assert house.provider.instances() == []


def test_a_connect_starts_the_session_with_our_secret_path(house, system):
    house.manager.connect_user_whatsapp(house.user)
    (body,) = [body for _, path, _, body in house.server.seen if path.endswith("start-session")]
    assert f"/api/webhook/wppconnect/{hook_keys(system, house.name).token}".encode() in body


def test_a_second_click_shows_the_code_and_a_look_the_connected_phone(house):
    assert house.manager.connect_user_whatsapp(house.user).record.status is Status.CONNECTING
    assert house.manager.connect_user_whatsapp(house.user).record.standing.pairing.qr
    house.server.scan(house.name)
    house.manager.reconnect_user_whatsapp(house.user)
    assert house.manager.find_user_instance(house.user).status is Status.CONNECTED


def test_whose_phone_it_is_is_known_after_the_look(house):
    house.pair()
    assert house.manager.find_user_instance(house.user).standing.phone == PHONE


def test_a_code_for_a_phone_begins_anew(house):
    house.manager.connect_user_whatsapp(house.user)
    house.manager.connect_user_whatsapp(house.user, by_code=True, phone="+5511977770009")
    phones = [b'"phone": "5511977770009"' in body for _, path, _, body in house.server.seen if "start" in path]
    assert phones == [False, True]
    house.server.scan(house.name)
    assert house.provider.state(house.name).state is State.CONNECTED


@pytest.mark.parametrize("how", [LOGOUT, CLOSE, DELETE])
def test_who_parted_can_come_back_with_a_new_pairing(house, how):
    house.pair()
    parted = house.manager.part_user_whatsapp(house.user, how)
    assert parted.status is Status.DISCONNECTED
    assert house.provider.state(house.name).state is State.NOT_FOUND
    house.pair()


def test_a_browser_that_died_is_revived_without_a_phone(house):
    house.pair()
    house.server.crash(house.name)
    house.manager.reconnect_user_whatsapp(house.user)
    assert house.provider.state(house.name).state is State.CONNECTED


def test_a_restart_of_one_that_is_closed_starts_it(house):
    house.pair()
    house.server.reboot()
    house.manager.reconnect_user_whatsapp(house.user, restart=True)
    assert house.provider.state(house.name).state is State.CONNECTED


def test_a_text_goes_out_and_a_dead_browser_takes_none(house):
    house.pair()
    assert house.manager.send_text(house.user, "+5511999990001", "Oi").message_id
    house.server.crash(house.name)
    with pytest.raises(NotConnected):
        house.manager.send_text(house.user, "+5511999990001", "Oi")
