"""The environment: what is wrong with it is said by name and never by value, before anything starts."""

import json
import os
import runpy
import stat
import subprocess
import sys
from base64 import urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.secrets import ConfigError, kept_secret
from core.settings import Settings, misspelt

ROOT = Path(__file__).parent.parent.parent
CASES = json.loads((ROOT / "tests" / "payloads" / "bad-env.json").read_text(encoding="utf-8"))
BY_NAME = {case["name"]: case for case in CASES}
FERNET = urlsafe_b64encode(b"0123456789abcdef0123456789abcdef").decode()
SECRETS = {"SECRET_KEY": "s" * 40, "AUTH_JWT_SECRET": "j" * 40, "APP_ENCRYPTION_KEY": FERNET}
PRODUCTION = {"APP_ENV": "production", **SECRETS}
EVOLUTION = {"EVOLUTION_API_URL": "http://127.0.0.1:2", "EVOLUTION_API_KEY": "k"}
WPPCONNECT = {"WPPCONNECT_URL": "http://127.0.0.1:1", "WPPCONNECT_SECRET_KEY": "k"}
AS_A_PROCESS = [
    "production without secrets",
    "WEBHOOK_SECRET 8 chars",
    "EVOLUTION_API_URL trailing slash",
    "DATABASE_URL password with @ unescaped",
    "TZ unknown",
    "misspelt variable (EVOLUTION_API_KY)",
    "secret file missing (EVOLUTION_API_KEY_FILE)",
]


def environ_of(case, folder):
    """A case's variables, complete where the case is not about completeness."""
    environ = {"ZELADOR_DATA_DIR": str(folder), **case["request"]["env"]}
    if "EVOLUTION_API_URL" in environ:
        environ |= {"EVOLUTION_API_KEY": "k" * 40, "WEBHOOK_URL": "https://zelador.example"}
    return {name: value.replace("{{NEW}}", "n" * 40).replace("{{OLD}}", "o" * 40) for name, value in environ.items()}


def loaded(environ):
    return Settings.from_env(environ)


def refusal(environ):
    with pytest.raises(ConfigError) as caught:
        loaded(environ)
    return str(caught.value)


def expect_no_value(said, environ):
    """Short values (`2`, `abc`) and a word like `production` may stand in a sentence by chance; no other may."""
    for name, value in environ.items():
        assert name == "APP_ENV" or len(value) < 5 or value not in said


@pytest.mark.parametrize("name", BY_NAME)
def test_a_case_of_the_list_ends_as_it_says(name, tmp_path):
    case = BY_NAME[name]
    environ = environ_of(case, tmp_path)
    if case["expect"]["exit"] == 0:
        said = "\n".join(misspelt(environ)) if loaded(environ) else ""
    else:
        said = refusal(environ)
        expect_no_value(said, case["request"]["env"])
    assert case["expect"].get("stderr_has", "") in said


@pytest.mark.parametrize("name", AS_A_PROCESS)
def test_check_config_says_it_with_its_exit_code(name, tmp_path):
    case = BY_NAME[name]
    environ = environ_of(case, tmp_path)
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "ops.py"), "check-config"],
        check=False,
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == case["expect"]["exit"], done.stderr
    assert case["expect"].get("stderr_has", "") in done.stderr
    assert "Traceback" not in done.stderr
    expect_no_value(done.stdout + done.stderr, case["request"]["env"])


def test_every_problem_is_named_at_once(tmp_path):
    said = refusal({"ZELADOR_DATA_DIR": str(tmp_path), "PORT": "x", "SANDBOX_PORT": "70000", "LOG_LEVEL": "LOUD"})
    assert [line.partition(":")[0] for line in said.splitlines()] == ["PORT", "LOG_LEVEL", "SANDBOX_PORT"]


def test_an_empty_variable_is_the_default(tmp_path):
    settings = loaded({"ZELADOR_DATA_DIR": str(tmp_path), "PORT": "", "EVOLUTION_API_URL": "", "LOG_LEVEL": " "})
    assert (settings.port, settings.evolution_api_url, settings.log_level) == (8000, None, "INFO")


def test_a_trailing_slash_and_spaces_are_cut(tmp_path):
    environ = {"ZELADOR_DATA_DIR": str(tmp_path), "EVOLUTION_API_URL": " http://127.0.0.1:8080/ "}
    assert loaded(environ | {"EVOLUTION_API_KEY": "k"}).evolution_api_url == "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ("https://app.example/painel/", "https://app.example"),
        ("HTTPS://App.Example:443", "https://app.example"),
        ("http://127.0.0.1:5173/", "http://127.0.0.1:5173"),
        ("http://app.example:80", "http://app.example"),
        ("https://app.example:80", "https://app.example:80"),
        ("http://[::1]:8080/x", "http://[::1]:8080"),
        ("capacitor://localhost", "capacitor://localhost"),
    ],
)
def test_origins_are_as_browsers_write_them(given, origin, tmp_path):
    for name in ("FRONTEND_URL", "CORS_ALLOWED_ORIGINS"):
        assert loaded({"ZELADOR_DATA_DIR": str(tmp_path), name: given}).origins == {origin}
    both = loaded({"ZELADOR_DATA_DIR": str(tmp_path), "CORS_ALLOWED_ORIGINS": f"{given}, https://other.example"})
    assert both.origins == {origin, "https://other.example"}


@pytest.mark.parametrize(
    "given", ["*", "null", "app.example", "https://*.example", "https://u:p@h", "https://h?x", "https://é.example"]
)
def test_what_no_page_has_as_its_origin_is_named(given, tmp_path):
    for name in ("FRONTEND_URL", "CORS_ALLOWED_ORIGINS"):
        assert refusal({"ZELADOR_DATA_DIR": str(tmp_path), name: given}).startswith(f"{name}: must look like")


@pytest.mark.parametrize("name", ["SECRET_KEY", "EVOLUTION_API_KEY", "DATABASE_URL", "WEBHOOK_SECRET"])
def test_a_secret_may_come_from_a_file(name, tmp_path):
    secret = "postgresql://u:p@h/db" if name == "DATABASE_URL" else "f" * 40
    (tmp_path / "given").write_text(f"{secret}\n")
    settings = loaded({"ZELADOR_DATA_DIR": str(tmp_path), f"{name}_FILE": str(tmp_path / "given")})
    found = getattr(settings, name.lower())
    found = found[0] if isinstance(found, list) else found
    assert found.get_secret_value().endswith(secret.removeprefix("postgresql"))


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_named(content, tmp_path):
    path = tmp_path / "given"
    if content is not None:
        path.write_bytes(content)
    said = refusal({"ZELADOR_DATA_DIR": str(tmp_path), "SECRET_KEY_FILE": str(path)})
    assert said.startswith("SECRET_KEY_FILE: ")


def test_an_empty_file_is_no_secret(tmp_path):
    (tmp_path / "given").write_text("\n")
    environ = PRODUCTION | {"ZELADOR_DATA_DIR": str(tmp_path), "SECRET_KEY_FILE": str(tmp_path / "given")}
    del environ["SECRET_KEY"]
    assert "SECRET_KEY: missing" in refusal(environ)


def test_a_misspelt_variable_gets_a_hint():
    assert misspelt({"EVOLUTION_API_KY": "x", "PATH": "/bin", "HOME": "/root", "PORT": "1"}) == [
        "EVOLUTION_API_KY: did you mean EVOLUTION_API_KEY?"
    ]


@pytest.mark.parametrize("name", ["NODE_ENV", "FLASK_ENV"])
def test_other_names_of_the_environment_count_where_ours_is_missing(name, tmp_path):
    assert loaded({**SECRETS, "ZELADOR_DATA_DIR": str(tmp_path), name: "production"}).is_production
    assert not loaded({"ZELADOR_DATA_DIR": str(tmp_path), name: "production", "APP_ENV": "development"}).is_production


@pytest.mark.parametrize("word", ["Production", "PRODUCTION ", "prod"])
def test_production_is_recognised_however_it_is_written(word, tmp_path):
    assert loaded({**SECRETS, "ZELADOR_DATA_DIR": str(tmp_path), "APP_ENV": word}).is_production


def made_secrets(folder):
    settings = loaded({"ZELADOR_DATA_DIR": str(folder)})
    names = ("secret_key", "auth_jwt_secret", "app_encryption_key", "evolution_api_key")
    return {name: getattr(settings, name).get_secret_value() for name in names}


def test_missing_secrets_are_made_once_and_kept_to_ourselves(tmp_path):
    first = made_secrets(tmp_path)
    assert made_secrets(tmp_path) == first
    assert len(set(first.values())) == 4
    assert all(len(secret) >= 32 for secret in first.values())
    kept = list((tmp_path / "secrets").iterdir())
    assert sorted(path.name for path in kept) == sorted(first)
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700


def test_two_processes_that_start_at_once_end_with_the_same_secrets(tmp_path):
    code = "from core.settings import Settings; print(Settings.from_env().secret_key.get_secret_value())"
    environ = {"PATH": os.environ["PATH"], "ZELADOR_DATA_DIR": str(tmp_path)}
    processes = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    first, second = (process.communicate(timeout=60)[0] for process in processes)
    assert first == second != ""


def test_many_that_make_a_secret_at_once_end_with_one(tmp_path):
    numbers = iter(range(1000))
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: kept_secret(tmp_path, "X", lambda: str(next(numbers))), range(50)))
    assert len(found) == 1


def test_a_given_secret_is_not_replaced(tmp_path):
    settings = loaded({"ZELADOR_DATA_DIR": str(tmp_path), "SECRET_KEY": "given"})
    assert settings.secret_key.get_secret_value() == "given"
    assert not (tmp_path / "secrets" / "secret_key").exists()


def test_a_data_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    assert refusal({"ZELADOR_DATA_DIR": str(tmp_path / "file")}).startswith("ZELADOR_DATA_DIR: cannot be written")


def test_production_starts_with_good_secrets_and_writes_none(tmp_path):
    settings = loaded({**PRODUCTION, "ZELADOR_DATA_DIR": str(tmp_path)})
    assert (settings.is_production, settings.gateway) == (True, None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", SECRETS)
def test_production_refuses_a_missing_secret(name, tmp_path):
    environ = {**PRODUCTION, "ZELADOR_DATA_DIR": str(tmp_path)}
    del environ[name]
    assert f"{name}: missing" in refusal(environ)


@pytest.mark.parametrize("name", ["SECRET_KEY", "AUTH_JWT_SECRET", "WEBHOOK_SECRET"])
def test_production_refuses_a_weak_secret(name, tmp_path):
    said = refusal({**PRODUCTION, "ZELADOR_DATA_DIR": str(tmp_path), name: "hunter22"})
    assert f"{name}: weak" in said
    assert "hunter22" not in said


JWKS = "https://project.supabase.co/auth/v1/.well-known/jwks.json"


def test_production_takes_published_keys_instead_of_a_secret(tmp_path):
    environ = {**PRODUCTION, "ZELADOR_DATA_DIR": str(tmp_path), "AUTH_JWKS_URL": JWKS}
    assert loaded(environ).auth_jwt_secret.get_secret_value() == SECRETS["AUTH_JWT_SECRET"]
    del environ["AUTH_JWT_SECRET"]
    settings = loaded(environ)
    assert (settings.auth_jwt_secret, settings.auth_jwks_url) == (None, JWKS)
    assert "AUTH_JWT_SECRET: weak" in refusal(environ | {"AUTH_JWT_SECRET": "hunter22"})


@pytest.mark.parametrize("url", [f"{JWKS}?p=policy", f"{JWKS}/", "http://127.0.0.1:9/jwks"])
def test_a_key_server_may_have_any_path(url, tmp_path):
    assert loaded({"ZELADOR_DATA_DIR": str(tmp_path), "AUTH_JWKS_URL": url}).auth_jwks_url == url


@pytest.mark.parametrize(
    "url", ["jwks.json", "ftp://h/x", "https://", "https://u:p@h/x", "https://h/x#1", "https://h:x/"]
)
def test_a_key_server_that_is_none_is_named(url, tmp_path):
    assert refusal({"ZELADOR_DATA_DIR": str(tmp_path), "AUTH_JWKS_URL": url}).startswith("AUTH_JWKS_URL: ")


def test_production_wants_keys_over_https(tmp_path):
    environ = {**PRODUCTION, "ZELADOR_DATA_DIR": str(tmp_path), "AUTH_JWKS_URL": "http://idp.example/jwks"}
    assert "AUTH_JWKS_URL: must be https" in refusal(environ)


def test_outside_production_the_sandbox_is_the_gateway(tmp_path):
    gateway = loaded({"ZELADOR_DATA_DIR": str(tmp_path), "SANDBOX_PORT": "9999"}).gateway
    assert (gateway.url, gateway.is_sandbox, len(gateway.key) >= 32) == ("http://127.0.0.1:9999", True, True)


def test_a_gateway_elsewhere_must_be_told_where_we_are(tmp_path):
    far = {"ZELADOR_DATA_DIR": str(tmp_path), "EVOLUTION_API_URL": "http://evo:8080", "EVOLUTION_API_KEY": "k"}
    assert refusal(far).startswith("WEBHOOK_URL: ")
    assert loaded(far | {"WEBHOOK_URL": "http://10.0.0.5:8000"}).webhook_base == "http://10.0.0.5:8000"


def test_a_gateway_needs_a_key(tmp_path):
    near = {"ZELADOR_DATA_DIR": str(tmp_path), "EVOLUTION_API_URL": "http://127.0.0.1:8080"}
    assert refusal(near).startswith("EVOLUTION_API_KEY: missing")


@pytest.mark.parametrize(
    ("url", "key"),
    [("WPPCONNECT_URL", "WPPCONNECT_SECRET_KEY"), ("WHATSAPP_BROKER_BASE_URL", "WHATSAPP_BROKER_API_KEY")],
)
def test_the_other_gateways_need_a_key_too(url, key, tmp_path):
    near = {"ZELADOR_DATA_DIR": str(tmp_path), url: "http://127.0.0.1:8080"}
    assert refusal(near) == f"{key}: missing, {url} is set"


def test_a_wppconnect_elsewhere_must_be_told_where_we_are(tmp_path):
    far = {"ZELADOR_DATA_DIR": str(tmp_path), "WPPCONNECT_URL": "http://wpp:21465", "WPPCONNECT_SECRET_KEY": "k"}
    assert refusal(far).startswith("WEBHOOK_URL: ")


def test_the_key_that_wppconnect_is_delivered_with_is_refused(tmp_path):
    near = {"ZELADOR_DATA_DIR": str(tmp_path), "WPPCONNECT_URL": "http://127.0.0.1:21465"}
    assert refusal(near | {"WPPCONNECT_SECRET_KEY": "THISISMYSECURETOKEN"}).startswith("WPPCONNECT_SECRET_KEY: ")


def test_the_broker_goes_by_two_names_of_which_the_longer_counts(tmp_path):
    short = {"ZELADOR_DATA_DIR": str(tmp_path), "BROKER_BASE_URL": "http://127.0.0.1:1/x/", "BROKER_API_KEY": "k"}
    assert loaded(short).gateway_of("broker") == ("http://127.0.0.1:1/x", "k", False)
    longer = {"WHATSAPP_BROKER_BASE_URL": "http://127.0.0.1:2", "WHATSAPP_BROKER_API_KEY": "l"}
    assert loaded(short | longer).gateway_of("broker") == ("http://127.0.0.1:2", "l", False)


@pytest.mark.parametrize(
    ("named", "default"),
    [
        ({}, "evolution"),
        (WPPCONNECT, "wppconnect"),
        ({"BROKER_BASE_URL": "http://127.0.0.1:1", "BROKER_API_KEY": "k"}, "broker"),
        ({**WPPCONNECT, **EVOLUTION}, "evolution"),
        ({**WPPCONNECT, **EVOLUTION, "WHATSAPP_PROVIDER": "wppconnect"}, "wppconnect"),
    ],
)
def test_new_instances_go_to_the_gateway_that_is_chosen_or_named_first(named, default, tmp_path):
    assert loaded({"ZELADOR_DATA_DIR": str(tmp_path), **named}).default_provider == default


def test_who_is_chosen_must_have_a_server(tmp_path):
    chosen = {"ZELADOR_DATA_DIR": str(tmp_path), **WPPCONNECT, "WHATSAPP_PROVIDER": "broker"}
    assert refusal(chosen).startswith("WHATSAPP_PROVIDER: ")


def test_the_sandbox_runs_beside_no_other_gateway(tmp_path):
    settings = loaded({"ZELADOR_DATA_DIR": str(tmp_path), **WPPCONNECT})
    assert (settings.gateway, settings.gateway_of("evolution")) == (None, None)


def test_a_secret_is_not_shown_with_the_settings(tmp_path):
    settings = loaded({"ZELADOR_DATA_DIR": str(tmp_path), "WEBHOOK_SECRET": "planted-a,planted-b"})
    assert "planted" not in f"{settings!r} {settings}"
    assert len(settings.webhook_secret) == 2


@pytest.mark.parametrize("url", ["postgres://u:p@h/db", "postgresql:///db?host=/run/pg", "postgresql+psycopg://h/db"])
def test_every_spelling_of_a_database_is_taken(url, tmp_path):
    settings = loaded({"ZELADOR_DATA_DIR": str(tmp_path), "DATABASE_URL": url})
    assert settings.database_url.get_secret_value().startswith("postgresql+psycopg://")


@pytest.mark.parametrize(
    ("host", "url", "base"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://0.0.0.0:8000", "http://127.0.0.1:8000"),
        ("::1", "http://[::1]:8000", "http://[::1]:8000"),
        ("::", "http://[::]:8000", "http://[::1]:8000"),
    ],
)
def test_an_ipv6_address_stands_in_brackets(host, url, base, tmp_path, monkeypatch):
    settings = loaded({"ZELADOR_DATA_DIR": str(tmp_path), "HOST": host})
    assert (settings.own_url, settings.webhook_base) == (url, base)
    monkeypatch.setenv("HOST", host)
    monkeypatch.setenv("PORT", "8000")
    assert f"http://{runpy.run_path(str(ROOT / 'gunicorn.conf.py'))['bind']}" == url


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"APP_ENV": "prodution"}, "APP_ENV"),
        ({"APP_ENV": "staging"}, "APP_ENV"),
        ({"PORT": "8081"}, "SANDBOX_PORT"),
        ({"LOG_FILE": "/nowhere/at/all.log"}, "LOG_FILE"),
    ],
)
def test_what_would_fail_later_fails_at_once(settings_of, variables, named):
    with pytest.raises(ConfigError, match=named):
        settings_of(**variables)
