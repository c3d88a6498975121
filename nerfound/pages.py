"""Web pages of one file: they load nothing, run no script, and follow the reader's choice of light or dark."""

from __future__ import annotations

import html

_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'unsafe-inline'"
_STYLE = """\
:root { color-scheme: light dark; }
body { margin: 0 auto; padding: 1.5rem clamp(1rem, 4vw, 3rem) 3rem; font: 16px/1.6 system-ui, sans-serif;
  background: light-dark(#fff, #16181d); color: light-dark(#1b1b1b, #e6e6e6); }
h1 { margin: 0 0 0.25rem; font-size: 1.4rem; line-height: 1.3; overflow-wrap: anywhere; }
.subtitle { margin: 0 0 1.5rem; font-size: 0.9rem; color: light-dark(#555, #aaa); }
"""

PAGE_END = "</body>\n</html>\n"


def page_start(title: str, subtitle: str, style: str) -> str:
    """What stands before the content of a page, heading included; [`PAGE_END`] goes behind it.

    Args:
        title, subtitle (`str`): any text; they are escaped.
        style (`str`): rules of the page's own. It is not escaped: no text of others may be in it.
    """
    title = html.escape(title)
    return (
        '<!DOCTYPE html>\n<html lang="und">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{html.escape(_POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{_STYLE}{style}</style>\n</head>\n<body>\n"
        f'<h1>{title}</h1>\n<p class="subtitle">{html.escape(subtitle)}</p>\n'
    )
