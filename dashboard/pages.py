"""The pages: log in, connect WhatsApp, see messages arrive. A shell; its JavaScript reads the API and one socket."""

from pathlib import Path

from flask import Blueprint, Response, redirect, render_template, request, session
from flask.blueprints import BlueprintSetupState
from flask.typing import ResponseReturnValue
from flask_babel import Babel, gettext
from flask_wtf.csrf import CSRFProtect
from werkzeug.wrappers import Response as AnyResponse

from core.access import Access
from core.errors import Unauthenticated
from core.sessions import Session
from core.web import Guard

LANGUAGES = {"pt": "pt_BR", "en": "en"}


def make_blueprint(access: Access, guard: Guard, csrf: CSRFProtect, *, sandbox_url: str | None) -> Blueprint:
    blueprint = Blueprint(
        "pages", __name__, template_folder="templates", static_folder="static", static_url_path="/static"
    )

    blueprint.record_once(_speak)

    @blueprint.get("/")
    def home() -> ResponseReturnValue:
        try:
            person = guard.user()
        except Unauthenticated:
            return redirect("/login")
        return render_template("home.html", person=person, sandbox_url=sandbox_url)

    @blueprint.post("/logout")
    def logout() -> ResponseReturnValue:
        csrf.protect()
        if theirs := Session.of(session):
            access.end_session(theirs)  # first: where that cannot be done now, they are still in, and may try again
        session.clear()
        return redirect("/login")

    @blueprint.get("/language/<code>")
    def speak(code: str) -> ResponseReturnValue:
        session["language"] = code if code in LANGUAGES else "pt"
        return redirect("/")

    _add_logins(blueprint, access, csrf)
    return blueprint


def _add_logins(blueprint: Blueprint, access: Access, csrf: CSRFProtect) -> None:
    @blueprint.get("/login")
    def login_form() -> ResponseReturnValue:
        return render_template("login.html", problem=None)

    @blueprint.post("/login")
    def login() -> ResponseReturnValue:
        csrf.protect()
        try:
            person = access.by_password(request.form.get("email", ""), request.form.get("password", ""))
        except Unauthenticated:
            return render_template("login.html", problem=gettext("E-mail ou senha incorretos.")), 401
        return _welcome(access.begin_session(person))

    @blueprint.get("/login/<token>")
    def login_by_link(token: str) -> ResponseReturnValue:
        try:
            return _welcome(access.begin_session(access.by_link(token)))
        except Unauthenticated:
            problem = gettext("Este link expirou ou já foi usado.")
            return render_template("login.html", problem=problem), 401


def _speak(state: BlueprintSetupState) -> None:
    folder = str(Path(__file__).with_name("translations"))
    Babel(state.app, default_locale="pt_BR", locale_selector=language, default_translation_directories=folder)
    state.app.add_template_global(lambda: language().replace("_", "-"), "language")
    state.app.add_template_global(_texts, "texts")


def language() -> str:
    """What this person reads: their choice, else what their browser asks for, else Portuguese."""
    chosen = session.get("language") or request.accept_languages.best_match(list(LANGUAGES), "pt")
    return LANGUAGES.get(chosen, "pt_BR")


def _welcome(theirs: Session) -> Response | AnyResponse:
    """A fresh session: nothing that was put into the old one before the login may survive it."""
    kept = session.get("language")
    session.clear()
    session.update(theirs.as_cookie())
    if kept:
        session["language"] = kept
    return redirect("/")


def _texts() -> dict[str, str]:
    """What the pages say, errors by their codes, in the reader's language."""
    return {
        "connected": gettext("Conectado! ✅"),
        "connecting": gettext("Conectando…"),
        "qr_pending": gettext("Aguardando leitura do QR Code"),
        "disconnected": gettext("Desconectado"),
        "expires": gettext("Novo código em {seconds} s"),
        "expired": gettext("Este código expirou. Um novo está a caminho…"),
        "waiting": gettext("Gerando o QR Code…"),
        "offline": gettext("Sem conexão ao vivo. Tentando de novo…"),
        "live": gettext("Ao vivo"),
        "polling": gettext("Atualizando a cada poucos segundos, sem conexão ao vivo"),
        "nothing": gettext("Nenhuma mensagem ainda."),
        "you": gettext("Você"),
        "failed": gettext("Não deu certo. Tente de novo em instantes."),
        "WHATSAPP_NOT_CONFIGURED": gettext("O servidor do WhatsApp ainda não foi configurado."),
        "WHATSAPP_DISABLED": gettext("O serviço WhatsApp está desativado."),
        "INSTANCE_NOT_CONNECTED": gettext("O WhatsApp não está conectado."),
        "INSTANCE_NOT_FOUND": gettext("O WhatsApp não está conectado."),
        "INVALID_PHONE_NUMBER": gettext("Número de telefone inválido"),
        "WHATSAPP_STORAGE_UNAVAILABLE": gettext("O banco de dados não responde. Tente de novo em instantes."),
        "PROVIDER_UNAVAILABLE": gettext("O servidor do WhatsApp não responde. Tente de novo em instantes."),
        "CIRCUIT_OPEN": gettext("O servidor do WhatsApp não responde. Tente de novo em instantes."),
        "PROVIDER_TIMEOUT": gettext("O servidor do WhatsApp demora a responder. Tente de novo em instantes."),
        "logged_out": gettext("O WhatsApp foi desconectado pelo celular. Conecte de novo para continuar."),
        "banned": gettext("O WhatsApp recusou este número. Fale com o suporte do WhatsApp."),
        "qr_limit": gettext("Muitos códigos sem leitura. Clique em Conectar WhatsApp para tentar de novo."),
        "replaced": gettext("Outro aparelho assumiu esta sessão."),
        "connection_lost": gettext("A conexão com o WhatsApp caiu."),
    }
