#!/bin/sh
# Makes .venv and fills it: `setup.sh run|dev|browser`. Does nothing where nothing is missing.
set -eu

fail() { echo "$1" >&2; exit 1; }

find_python() {
    for candidate in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    fail "Zelador needs Python 3.11 or newer (set PYTHON to its command)"
}

with_apt() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

apt_install() {
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

make_venv() {
    [ -x .venv/bin/python ] && return
    python=$(find_python)
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        with_apt || fail "python3-venv is missing: install it (Debian, Ubuntu: sudo apt install python3-venv)"
        apt_install python3-venv || fail "python3-venv is missing and could not be installed"
    fi
    "$python" -m venv .venv || fail "The virtual environment .venv could not be made"
}

# A stamp per requirements file, named after its contents: an unchanged file is not looked at again.
install() {
    stamp=.venv/installed-$(cksum < "$1" | tr ' ' '-')
    [ -e "$stamp" ] && return
    echo "installing $1 …" >&2
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$1" ||
        fail "The requirements in $1 could not be installed"
    touch "$stamp"
}

browser() {
    for name in chromium chromium-browser google-chrome; do
        command -v "$name" >/dev/null && return
    done
    if with_apt; then
        echo "installing chromium …" >&2
        apt_install chromium || fail "Chromium could not be installed"
    else
        .venv/bin/playwright install chromium >&2 || fail "Chromium is missing and could not be installed"
    fi
}

cd "$(dirname "$0")/.."
case "${1:-}" in
run) make_venv && install requirements.txt ;;
dev) make_venv && install requirements-dev.txt ;;
browser) browser ;;
*) fail "usage: setup.sh run|dev|browser" ;;
esac
