"""Show money, dates and pictures in templates."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

from django import template
from django.conf import settings
from django.utils import formats, timezone, translation
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext, pgettext

from sessions_app.pages import posters
from sessions_app.pages import tier_looks as tier_looks_
from sessions_app.pages.seat_plan import Plan

register = template.Library()

NBSP = "\N{NO-BREAK SPACE}"
SYMBOLS = {"BRL": "R$", "USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥"}
FOREIGN = {"pt-br": {"USD": "US$", "JPY": "JP¥"}}
SMALL_MONTHS = frozenset({"pt-br"})  # languages that write “3 de maio”
WITHOUT_MINOR_UNITS = frozenset({"JPY", "KRW", "CLP", "PYG", "VND", "ISK", "UGX", "XAF", "XOF"})
THREE_DIGITS = frozenset({"BHD", "JOD", "KWD", "OMR", "TND"})


def minor_digits(currency: str) -> int:
    """Return the number of digits after the point, by ISO 4217."""
    if currency in WITHOUT_MINOR_UNITS:
        return 0
    return 3 if currency in THREE_DIGITS else 2


@register.simple_tag
def version() -> str:
    return settings.VERSION


@register.simple_tag
def tier_looks(plan: Plan | None) -> Sequence[tier_looks_.Look]:
    """Return the looks of the seats of a plan, by the number of the look."""
    return tier_looks_.LOOKS[: plan.looks] if plan else ()


@register.simple_tag
def tier_look(place: int) -> int:
    """Return the look of the hall's section that is named at this place."""
    return tier_looks_.look_of(place)


@register.filter
def money(amount: int | None, currency: str) -> str:
    """Write minor units as readers of the page's language do: R$30.00, R$ 30,00."""
    if amount is None:
        return ""
    digits = minor_digits(currency)
    number = formats.number_format(amount / 10**digits, digits, use_l10n=True, force_grouping=True)
    language = translation.get_language() or "en"
    symbol = FOREIGN.get(language, {}).get(currency) or SYMBOLS.get(currency)
    spaced = language == "pt-br" or symbol is None
    return f"{symbol or currency}{NBSP if spaced else ''}{number}"


@register.filter
def amounts(by_currency: Mapping[str, int]) -> str:
    """Write amounts of several currencies, like “R$30.00 · €25.00”; a dash for none."""
    return " · ".join(money(amount, currency) for currency, amount in sorted(by_currency.items())) or "\N{EN DASH}"


@register.filter
def clock(moment: dt.datetime) -> str:
    return formats.date_format(timezone.localtime(moment), pgettext("time of day", "g:i A"))


@register.filter
def clock_seconds(moment: dt.datetime) -> str:
    return formats.date_format(timezone.localtime(moment), pgettext("time of day with seconds", "g:i:s A"))


@register.filter
def day(moment: dt.date) -> str:
    """Write a day like “Friday, May 3”, in the language's order and case; add the year unless it is the present one."""
    return _long(moment, pgettext("day", "l, F j")) if _is_this_year(moment) else full_day(moment)


@register.filter
def full_day(moment: dt.date) -> str:
    """Write a day like “Friday, May 3, 2030”: for letters and papers, which are still read in another year."""
    return _long(moment, pgettext("day", "l, F j, Y"))


def _long(moment: dt.date, form: str) -> str:
    text = formats.date_format(_local(moment), form)
    return text.capitalize() if translation.get_language() in SMALL_MONTHS else text


@register.filter
def within(day: str) -> str:
    """Write a day as it stands within a sentence: “até segunda-feira, 3 de maio”."""
    return day[:1].lower() + day[1:] if translation.get_language() in SMALL_MONTHS else day


@register.filter
def short_day(moment: dt.date) -> str:
    """Write a day like “May 3”; add the year unless it is the present one."""
    form = pgettext("short day", "M j") if _is_this_year(moment) else pgettext("short day", "M j, Y")
    return formats.date_format(_local(moment), form)


def _is_this_year(moment: dt.date) -> bool:
    return _local(moment).year == timezone.localdate().year


@register.filter
def weekday(moment: dt.date) -> str:
    """Return today, tomorrow, or the weekday's short name."""
    ahead = (_local(moment) - timezone.localdate()).days
    near = {0: gettext("Today"), 1: gettext("Tomorrow")}
    return near.get(ahead) or formats.date_format(_local(moment), "D")


def _local(moment: dt.date) -> dt.date:
    return timezone.localtime(moment).date() if isinstance(moment, dt.datetime) else moment


@register.filter
def duration(minutes: int) -> str:
    hours, rest = divmod(minutes, 60)
    parts = [gettext("%d h") % hours if hours else "", gettext("%d min") % rest if rest else ""]
    return " ".join(part for part in parts if part)


@register.filter
def grouped(code: str) -> SafeString:
    """Show a long code in groups that an eye can follow; copied, it is still one word."""
    return format_html_join("", "<span>{}</span>", ((code[start : start + 4],) for start in range(0, len(code), 4)))


@register.filter
def spelled(code: str) -> str:
    """Write a code in groups without styles: K7QM-2X9D-R4TV."""
    return "-".join(code[start : start + 4] for start in range(0, len(code), 4))


@register.simple_tag
def poster(title: str) -> SafeString:
    return posters.poster(title)


@register.simple_tag
def live_url() -> str:
    """Return the address of the sockets, if it isn't the page's own."""
    return str(settings.LIVE_URL)


@register.simple_tag
def languages() -> list[tuple[str, str, str]]:
    """Return the code, short name and own name of each language of the pages."""
    return [
        (code, code[:2].upper(), str(translation.get_language_info(code)["name_local"]))
        for code, _name in settings.LANGUAGES
    ]
