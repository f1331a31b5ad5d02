"""What a newcomer does with the running product, in a real Chromium: log in, connect, scan, see a message arrive.

Screenshots go to the test's temporary folder, or to ZELADOR_SCREENSHOTS.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect

from tests.product import Product

WAIT_MS = 60_000
expect.set_options(timeout=WAIT_MS)
PORTUGUESE = re.compile(r"[áàâãéêíóôõúç]|\b(?:Sair|Entrar|Senha|Mensagens|Conectar|Desconectado|Nenhuma|Fila)\b", re.I)
VIOLATION = "document.addEventListener('securitypolicyviolation', e => console.error('CSP ' + e.violatedDirective))"


@pytest.fixture(scope="module")
def product() -> Iterator[Product]:
    with Product() as running:
        yield running


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    folder = Path(os.environ.get("ZELADOR_SCREENSHOTS") or tmp_path)
    folder.mkdir(exist_ok=True)
    return folder


class Visitor:
    """A browser of its own, and everything it complained about."""

    def __init__(self, browser: Browser, shots: Path, *, locale: str = "pt-BR", width: int = 1280) -> None:
        self.complaints: list[str] = []
        self._shots = shots
        self.context: BrowserContext = browser.new_context(locale=locale, viewport={"width": width, "height": 800})
        self.context.set_default_timeout(WAIT_MS)
        self.context.add_init_script(VIOLATION)
        self.page = self.new_page()

    def new_page(self) -> Page:
        page = self.context.new_page()
        page.on(
            "console", lambda said: self.complaints.append(said.text) if said.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("requestfailed", self._miss)
        return page

    def _miss(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # somebody clicked on and did not wait
            self.complaints.append(f"{request.url} {request.failure}")

    def shoot(self, name: str, page: Page | None = None) -> None:
        (page or self.page).screenshot(path=self._shots / f"{name}.png")

    def shoot_narrow(self, name: str, page: Page | None = None) -> None:
        """As a phone shows it; nothing may stick out sideways."""
        page = page or self.page
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        self.shoot(name, page)
        page.set_viewport_size({"width": 1280, "height": 800})


@pytest.fixture(autouse=True)
def _no_phones_yet(product: Product) -> None:
    product.play("reset")


@pytest.fixture
def visitor(browser: Browser, shots: Path) -> Iterator[Visitor]:
    somebody = Visitor(browser, shots)
    yield somebody
    somebody.context.close()
    assert somebody.complaints == []


def test_from_the_login_link_to_a_message_on_the_screen(product, visitor):
    page = visitor.page
    page.goto(product.link("demo"))
    expect(page).to_have_url(f"{product.base}/")
    expect(page.locator("#live")).to_have_text("Ao vivo")
    expect(page.locator("#status")).to_have_text("Desconectado")
    expect(page.get_by_text("Nenhuma mensagem ainda.")).to_be_visible()
    visitor.shoot("home")
    visitor.shoot_narrow("home-narrow")

    page.get_by_role("button", name="Conectar WhatsApp").click()
    code = page.get_by_alt_text("QR Code para ligar o WhatsApp")
    expect(code).to_be_visible()
    assert code.evaluate("image => image.complete && image.naturalWidth > 100")
    expect(page.locator("#countdown")).to_have_text(re.compile(r"\b(?:[1-3]?\d|4[0-5]) s$"))
    visitor.shoot("qr")
    visitor.shoot_narrow("qr-narrow")

    with visitor.context.expect_page() as opened:
        page.get_by_role("link", name="celular de brinquedo").click()
    phone = opened.value
    phone.get_by_role("button", name="Ler o QR code").click()
    expect(page.locator("#status")).to_have_text("Conectado! ✅")
    expect(page.locator("#phone")).to_have_text(re.compile(r"^\+55 ?\d"))
    expect(code).to_be_hidden()

    phone.get_by_label("Mensagem").fill("Olá! Quero agendar um horário <b>amanhã</b>")
    phone.get_by_role("button", name="Enviar").click()
    message = page.locator("#messages li")
    expect(message).to_have_count(1)
    expect(message).to_contain_text("Olá! Quero agendar um horário <b>amanhã</b>")
    expect(message).to_contain_text("Cliente")
    visitor.shoot("connected")
    visitor.shoot_narrow("connected-narrow")
    visitor.shoot("sandbox", phone)
    visitor.shoot_narrow("sandbox-narrow", phone)

    page.reload()
    expect(page.locator("#status")).to_have_text("Conectado! ✅")
    expect(message).to_have_count(1)
    expect(message).to_contain_text("Cliente")


def test_a_person_logs_in_with_a_password_and_reads_english(product, browser, shots):
    person = ("--email", "Ana@Example.org", "--password", "uma senha bem longa", "--role", "admin")
    made = product.ops("create-user", *person)
    assert made.returncode == 0, made.stderr
    visitor = Visitor(browser, shots, locale="en-US")
    page = visitor.page
    page.goto(product.base)
    expect(page).to_have_url(f"{product.base}/login")
    assert not PORTUGUESE.search(own_text(page))  # what the browser asks for
    page.goto(f"{product.base}/language/pt")
    visitor.shoot("login")
    visitor.shoot_narrow("login-narrow")
    page.get_by_label("E-mail").fill("ana@example.org")
    page.get_by_label("Senha").fill("uma senha errada")
    page.get_by_role("button", name="Entrar").click()
    expect(page.get_by_role("alert")).to_have_text("E-mail ou senha incorretos.")
    visitor.shoot("login-wrong")
    page.get_by_label("E-mail").fill("ana@example.org")
    page.get_by_label("Senha").fill("uma senha bem longa")
    page.get_by_role("button", name="Entrar").click()
    expect(page.locator("#live")).to_have_text("Ao vivo")
    expect(page.locator("[data-queue=pending]")).to_have_text(re.compile(r"^\d+$"))
    visitor.shoot("admin")

    page.get_by_role("link", name="English").click()
    expect(page.locator("#live")).to_have_text("Live")
    assert page.locator("html").get_attribute("lang") == "en"
    page.get_by_role("button", name="Connect WhatsApp").click()
    expect(page.locator("#qr")).to_be_visible()
    assert not PORTUGUESE.search(own_text(page)), own_text(page)
    visitor.shoot("english")
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(f"{product.base}/login")
    assert not PORTUGUESE.search(own_text(page))
    visitor.context.close()
    assert [text for text in visitor.complaints if "401" not in text] == []


def own_text(page: Page) -> str:
    """All that is written there, hidden parts and labels too, but the name of the other language."""
    labels = "[...document.querySelectorAll('[alt], [aria-label]')].map(node => node.alt || node.ariaLabel)"
    text = page.evaluate(f"[document.body.textContent, ...{labels}].join(' ')")
    return str(text).replace("Português", "")
