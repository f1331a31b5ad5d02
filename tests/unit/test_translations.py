"""Portuguese stands in the sources, English in the catalogue: nothing may be missing, and the .mo is the .po."""

import gettext
import io
import re
from pathlib import Path

from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

DASHBOARD = Path(__file__).parents[2] / "dashboard"
ENGLISH = DASHBOARD / "translations" / "en" / "LC_MESSAGES"
PLACE = re.compile(r"\{\w+\}")


def texts_of_the_sources() -> set[str]:
    with open(DASHBOARD / "translations" / "babel.cfg") as config:
        methods, options = parse_mapping_cfg(config)
    found = extract_from_dir(DASHBOARD, methods, options)
    return {text for _, _, text, _, _ in found if isinstance(text, str)}


def english():
    return read_po(io.BytesIO((ENGLISH / "messages.po").read_bytes()))


def test_every_text_has_its_english():
    known = {message.id: message.string for message in english() if message.id}
    assert texts_of_the_sources() == set(known), "run `make translations`"
    assert [text for text, translated in known.items() if not translated] == []
    assert [text for text, translated in known.items() if PLACE.findall(text) != PLACE.findall(translated)] == []


def test_the_compiled_catalogue_is_up_to_date():
    compiled = io.BytesIO()
    write_mo(compiled, english(), use_fuzzy=True)
    fresh = gettext.GNUTranslations(io.BytesIO(compiled.getvalue()))
    with open(ENGLISH / "messages.mo", "rb") as file:
        kept = gettext.GNUTranslations(file)
    wanted = texts_of_the_sources()
    assert {text: kept.gettext(text) for text in wanted} == {text: fresh.gettext(text) for text in wanted}
