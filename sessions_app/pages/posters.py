"""Draw posters from titles: the same title always gives the same picture."""

from __future__ import annotations

import hashlib
import textwrap

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

WIDTH, HEIGHT = 120, 180
LINE = 11  # characters that fit
PALETTES = (
    ("#f2545b", "#5b1a4a", "#ffd6a5"),
    ("#1d7874", "#0b2033", "#f4c095"),
    ("#f49d37", "#7b2d26", "#fff1d0"),
    ("#5f5aa2", "#17153b", "#f6c6ea"),
    ("#3a86c8", "#10263f", "#ffe2a0"),
    ("#d1495b", "#2e1f47", "#edae49"),
    ("#4f9d69", "#14342b", "#f7e7a9"),
    ("#c06c84", "#355070", "#ffe5d9"),
)
FIGURES = (
    '<circle cx="{a}" cy="70" r="{b}" opacity=".9"/><circle cx="{a}" cy="70" r="{c}" opacity=".35"/>',
    '<path d="M0 {b}l60-{a} 60 {a}v120H0z" opacity=".28"/><path d="M0 {d}l45-30 30 22 45-40v130H0z" opacity=".5"/>',
    '<path d="M-10 {d}q35-50 70 0t70 0v130h-140z" opacity=".3"/><circle cx="{a}" cy="{c}" r="16"/>',
    (
        '<path d="M60 0l{a} 180h14L86 0zM60 0l-{b} 180h-20L40 0z" opacity=".3"/>'
        '<circle cx="60" cy="{d}" r="22" opacity=".85"/>'
    ),
    '<path d="M{c} 30h26v110h-26zM{d} 55h18v85h-18z" opacity=".5"/><circle cx="88" cy="38" r="13"/>',
)


def poster(title: str) -> SafeString:
    """Return an SVG of 120 by 180 with the title on it; it is decoration, so screen readers skip it."""
    digest = hashlib.sha256(title.encode()).digest()
    top, bottom, light = PALETTES[digest[0] % len(PALETTES)]
    figure = FIGURES[digest[1] % len(FIGURES)]
    a, b, c, d = (20 + number % 60 for number in digest[2:6])
    lines = textwrap.wrap(title, LINE)[:4]
    text = format_html_join(
        "",
        '<text x="10" y="{}">{}</text>',
        ((HEIGHT - 14 - 15 * (len(lines) - 1 - index), line) for index, line in enumerate(lines)),
    )
    return format_html(
        '<svg class="poster" viewBox="0 0 {w} {h}" preserveAspectRatio="xMidYMid slice" '
        'aria-hidden="true" focusable="false">'
        '<defs><linearGradient id="p{i}" x2=".4" y2="1"><stop stop-color="{top}"/>'
        '<stop offset="1" stop-color="{bottom}"/></linearGradient>'
        '<linearGradient id="q{i}" x2="0" y2="1"><stop offset=".45" stop-color="#000" stop-opacity="0"/>'
        '<stop offset="1" stop-color="#000" stop-opacity=".62"/></linearGradient></defs>'
        '<rect width="{w}" height="{h}" fill="url(#p{i})"/><g fill="{light}">{figure}</g>'
        '<rect width="{w}" height="{h}" fill="url(#q{i})"/>'
        '<g fill="#fff" font-size="14" font-weight="750" letter-spacing="-.3" font-family="inherit">{text}</g></svg>',
        w=WIDTH,
        h=HEIGHT,
        i=digest.hex()[:8],
        top=top,
        bottom=bottom,
        light=light,
        figure=format_html(figure, a=a, b=b, c=c, d=d),
        text=text,
    )
