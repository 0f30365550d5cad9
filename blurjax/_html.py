"""Pages that need nothing but themselves: pictures are inside, and nothing is fetched (host).

One look for what `blurjax analyze` and `python -m eval all` write.
"""

import base64
import html
import io
import re
from collections.abc import Iterable, Sequence

import numpy as np

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8881; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
h3 { font-size: 1rem; margin-top: 1.5rem; }
p.lead { font-size: 1.25rem; }
table { border-collapse: collapse; margin: 1rem 0; font-size: .92rem; }
caption { text-align: left; padding: .3rem 0; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .7rem; text-align: left;
  vertical-align: top; overflow-wrap: break-word; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.ours { font-weight: 600; } tr.published { background: var(--soft); font-style: italic; }
th { overflow-wrap: normal; }
figure { margin: 1rem 0; } td figure { margin: 0; } figure img { max-width: 100%; height: auto; }
figcaption { font-size: .9rem; }
div.beside { display: flex; flex-wrap: wrap; gap: 1rem; }
div.beside figure { flex: 1 1 20rem; margin: 0; }
div.wide { overflow-x: auto; }
pre { background: var(--soft); padding: .7rem; overflow-x: auto; font-size: .85rem; }
footer { margin-top: 3rem; font-size: .85rem; border-top: 1px solid var(--line); }
"""

_NUMBER = re.compile(r"([-+−±<>\d.,%()/ ]| to )*\d([-+−±<>\d.,%()/ ]| to )*")


def page(title: str, body: Iterable[str], footer: str = "") -> bytes:
    """A whole page, encoded.

    Args:
        title: as plain text.
        body: pieces of HTML.
        footer: as plain text.
    """
    end = f"<footer><p>{text(footer)}</p></footer>\n" if footer else ""
    content = "\n".join(body)
    whole = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{text(title)}</h1>\n{content}\n{end}</body>\n</html>\n"
    )
    # Names of files may hold what is no character.
    return whole.encode("utf-8", "backslashreplace")


def text(words: object) -> str:
    """Plain text, as HTML."""
    return html.escape(str(words))


def link(target: str, words: str) -> str:
    """To a file beside the page."""
    from urllib.parse import quote

    address = quote(target.encode("utf-8", "surrogateescape"))
    return f'<a href="{address}">{text(words)}</a>'


def paragraph(words: str, kind: str = "") -> str:
    """Plain text; `kind` "lead" for the sentence that matters."""
    return f"<p{_class(kind)}>{text(words)}</p>"


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    caption: str = "",
    kinds: Iterable[str] = (),
) -> str:
    """A table; cells are HTML, and those of numbers alone stand to the right.

    Args:
        columns: headings, plain text.
        rows: cells, each as HTML.
        caption: plain text.
        kinds: for each row "ours", "published" or "".
    """
    head = "".join(f"<th>{text(column)}</th>" for column in columns)
    looks = iter(kinds)
    lines = [f"<tr{_class(next(looks, ''))}>" + "".join(map(_cell, row)) + "</tr>" for row in rows]
    above = f"<caption>{text(caption)}</caption>" if caption else ""
    return (
        f'<div class="wide"><table>{above}<thead><tr>{head}</tr></thead>\n<tbody>'
        + "\n".join(lines)
        + "</tbody></table></div>"
    )


def _cell(content: str) -> str:
    return f"<td{_class('number' if _NUMBER.fullmatch(content) else '')}>{content}</td>"


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def png(content: bytes, caption: str) -> str:
    """A PNG file, copied into the page."""
    return _figure(content, "png", caption)


def picture(image: np.ndarray, caption: str, *, side: int = 1024) -> str:
    """An image in [0, 1], as a JPEG of at most `side` pixels."""
    from PIL import Image

    # Of a large image only so much is copied as can be seen.
    step = max(1, max(image.shape[:2]) // (2 * side))
    drawn = Image.fromarray(np.rint(np.clip(image[::step, ::step], 0, 1) * 255).astype(np.uint8))
    drawn.thumbnail((side, side), Image.Resampling.BOX)
    file = io.BytesIO()
    drawn.save(file, "JPEG", quality=90)
    return _figure(file.getvalue(), "jpeg", caption)


def beside(pictures: Iterable[str]) -> str:
    """Pictures side by side, where the window is wide enough."""
    return f'<div class="beside">{"".join(pictures)}</div>'


def _figure(content: bytes, kind: str, caption: str) -> str:
    data = base64.b64encode(content).decode("ascii")
    words = text(caption)
    below = f"<figcaption>{words}</figcaption>" if caption else ""
    return f'<figure><img src="data:image/{kind};base64,{data}" alt="{words}">{below}</figure>'
