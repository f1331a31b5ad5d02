"""Pictures, films, sounds and files. Readers of `kinds`. Pure.

Their bytes come otherwise: keys, hashes, addresses and thumbnails are no details.
`{"imageMessage":{"url","mimetype","caption"?,"fileLength":{"low","high","unsigned"},"height","width","mediaKey",…}}`
"""

from typing import Any

from manager.providers.evolution.content import Body, Content, clock, known, labelled, with_options
from manager.providers.evolution.values import count, said


def image(body: Body) -> Content:
    return Content(kind="image", text=said(body.get("caption")) or "Foto", details=_facts(body))


def video(body: Body) -> Content:
    """`gifPlayback` is a film that a phone shows as a GIF."""
    gif = body.get("gifPlayback") is True
    label = "GIF" if gif else "Vídeo"
    return Content(kind="video", text=said(body.get("caption")) or label, details=_facts(body) | known(gif=gif))


def video_note(body: Body) -> Content:
    """A round film, `ptvMessage`."""
    return Content(kind="video_note", text=_timed("Mensagem de vídeo", body), details=_facts(body))


def audio(body: Body) -> Content:
    """`ptt` (push to talk) tells a voice message from a sound file."""
    if body.get("ptt") is True:
        return Content(kind="voice", text=_timed("Mensagem de voz", body), details=_facts(body))
    return Content(kind="audio", text=_timed("Áudio", body), details=_facts(body))


def document(body: Body) -> Content:
    name = said(body.get("fileName")) or said(body.get("title"))
    found = _facts(body) | known(fileName=name, pageCount=count(body.get("pageCount")))
    return Content(kind="document", text=said(body.get("caption")) or labelled("Documento", name), details=found)


def sticker(body: Body) -> Content:
    found = _facts(body) | known(animated=body.get("isAnimated") is True)
    return Content(kind="sticker", text="Figurinha", details=found)


def _facts(body: Body) -> dict[str, Any]:
    """What all media have: `sizeBytes`, `seconds`, `width` and `height` in pixels, `viewOnce`."""
    return known(
        mimeType=said(body.get("mimetype")),
        sizeBytes=count(body.get("fileLength")),
        seconds=count(body.get("seconds")),
        width=count(body.get("width")),
        height=count(body.get("height")),
        viewOnce=body.get("viewOnce") is True,
    )


def _timed(label: str, body: Body) -> str:
    length = clock(count(body.get("seconds")))
    return with_options(label, [length] if length else [])
