"""Messages that offer a choice, the answers to them, and goods. Readers of `kinds`. Pure.

The text of an offer is its words and its options; the text of an answer is what was chosen.
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from manager.providers.evolution.content import Body, Content, known, labelled, money, with_options
from manager.providers.evolution.values import called, count, integer, items, mapping, said, text

TEMPLATES = ("hydratedTemplate", "hydratedFourRowTemplate", "fourRowTemplate", "interactiveMessageTemplate")


def options_list(body: Body) -> Content:
    """`{"title","description","buttonText","footerText","sections":[{"rows":[{"title","rowId"}]}]}`"""
    rows = [row for section in items(body.get("sections")) for row in items(mapping(section).get("rows"))]
    options = _texts(mapping(row).get("title") for row in rows)
    return _offer("list", body.get("title"), body.get("description"), body.get("footerText"), options)


def buttons(body: Body) -> Content:
    """`{"contentText","footerText","text","buttons":[{"buttonId","buttonText":{"displayText"}}]}`"""
    labels = (mapping(mapping(one).get("buttonText")).get("displayText") for one in items(body.get("buttons")))
    return _offer("buttons", body.get("text"), body.get("contentText"), body.get("footerText"), _texts(labels))


def template(body: Body) -> Content:
    """`{"hydratedTemplate":{"hydratedContentText","hydratedTitleText","hydratedFooterText","hydratedButtons":[…]}}`,
    each button `{"quickReplyButton"|"urlButton"|"callButton":{"displayText"}}`; or an interactive one inside.
    """
    inner = next((found for name in TEMPLATES if (found := mapping(body.get(name)))), body)
    if "body" in inner:
        return replace(interactive(inner), kind="template")
    several = (mapping(one).values() for one in items(inner.get("hydratedButtons")))
    options = _texts(mapping(button).get("displayText") for one in several for button in one)
    return _offer(
        "template",
        inner.get("hydratedTitleText"),
        inner.get("hydratedContentText"),
        inner.get("hydratedFooterText"),
        options,
    )


def interactive(body: Body) -> Content:
    """`{"header":{"title"},"body":{"text"},"footer":{"text"},"nativeFlowMessage":{"buttons":[{"buttonParamsJson"}]}}`,
    the parameters being JSON in a text: `{"display_text":"Sim","id":"yes"}`.
    """
    given = items(mapping(body.get("nativeFlowMessage")).get("buttons"))
    options = _texts(_parameters(mapping(one).get("buttonParamsJson")).get("display_text") for one in given)
    title, words, footer = (
        mapping(body.get(part)).get(key) for part, key in (("header", "title"), ("body", "text"), ("footer", "text"))
    )
    return _offer("interactive", title, words, footer, options)


def list_reply(body: Body) -> Content:
    """`{"title":"Opção 1","singleSelectReply":{"selectedRowId":"row1"}}`"""
    return _reply("list_reply", mapping(body.get("singleSelectReply")).get("selectedRowId"), body.get("title"))


def buttons_reply(body: Body) -> Content:
    """`{"selectedButtonId":"yes","selectedDisplayText":"Sim"}`"""
    return _reply("buttons_reply", body.get("selectedButtonId"), body.get("selectedDisplayText"))


def template_reply(body: Body) -> Content:
    """`{"selectedId":"btn-1","selectedDisplayText":"Sim","selectedIndex":0}`"""
    return _reply("template_reply", body.get("selectedId"), body.get("selectedDisplayText"))


def interactive_reply(body: Body) -> Content:
    """`{"body":{"text":"Sim"},"nativeFlowResponseMessage":{"name","paramsJson":"{\\"id\\":\\"yes\\"}"}}`"""
    parameters = _parameters(mapping(body.get("nativeFlowResponseMessage")).get("paramsJson"))
    return _reply("interactive_reply", parameters.get("id"), mapping(body.get("body")).get("text"))


def order(body: Body) -> Content:
    """`{"orderId","itemCount":3,"orderTitle","message","totalAmount1000":{…},"totalCurrencyCode":"BRL"}`"""
    number, price = count(body.get("itemCount")), _price(body, "totalAmount1000", "totalCurrencyCode")
    goods = None if number is None else f"{number} {'item' if number == 1 else 'itens'}"
    found = known(title=said(body.get("orderTitle")), itemCount=number) | price
    words = labelled("Pedido", goods, money(price.get("amount"), price.get("currency")))
    return Content(kind="order", text=words, details=found)


def product(body: Body) -> Content:
    """`{"product":{"title","description","priceAmount1000","currencyCode"},"body":"…"}`"""
    goods = mapping(body.get("product"))
    price, title = _price(goods, "priceAmount1000", "currencyCode"), said(goods.get("title"))
    words = labelled("Produto", title, money(price.get("amount"), price.get("currency")))
    return Content(kind="product", text=words, details=known(title=title) | price)


def _offer(kind: str, title: object, words: object, footer: object, options: list[str]) -> Content:
    label = {"list": "Lista", "buttons": "Botões"}.get(kind, "Mensagem interativa")
    body = said(words) or said(title) or label
    found = known(title=said(title), footer=said(footer), options=options)
    return Content(kind=kind, text=with_options(body, options), details=found)


def _reply(kind: str, chosen: object, words: object) -> Content:
    """`selected` are the ids of what was chosen; without a text the id is shown."""
    return Content(kind=kind, text=said(words) or said(chosen) or "Resposta", details=known(selected=_texts([chosen])))


def _price(body: Body, amount: str, currency: str) -> dict[str, Any]:
    """`amount` in units of `currency`; WhatsApp counts thousandths."""
    thousandths = integer(body.get(amount))
    if thousandths is None or abs(thousandths) >= 2**53:
        return {}
    return {"amount": thousandths / 1000} | known(currency=called(body.get(currency)))


def _texts(values: Iterable[object]) -> list[str]:
    return [found for value in values if (found := said(value))]


def _parameters(value: object) -> Body:
    """JSON in a text; {} where it is none."""
    try:
        return mapping(json.loads(text(value)))
    except (ValueError, RecursionError):
        return {}
