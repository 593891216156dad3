"""Define the forms for vouchers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from base.admin_forms import WholeRowForm
from reservations.allocation import pricing
from reservations.allocation.terms import uses_of
from reservations.models import Voucher
from reservations.staff.sentences import SENTENCES
from sessions_app.staff.forms import Price, minor_units
from sessions_app.templatetags.frontrow import minor_digits


class VoucherForm(WholeRowForm):
    """A voucher as people write it: its code in any case of letters, its amount like 10.00."""

    sentences = SENTENCES
    amount = Price(label=_("Amount"), help_text=_("Taken off the whole order. Give either this or a percentage."))

    class Meta:
        model = Voucher
        fields = [
            "code",
            "percent_off",
            "amount",
            "currency",
            "session",
            "uses",
            "uses_per_buyer",
            "valid_from",
            "valid_until",
            "is_active",
        ]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if self.instance.amount is not None and "amount" in self.fields:
            self.initial["amount"] = Decimal(self.instance.amount).scaleb(-minor_digits(self.instance.currency))

    def clean_code(self) -> str:
        return pricing.normal(self.cleaned_data["code"])

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if self.errors:
            return cleaned
        if (cleaned["percent_off"] is None) == (cleaned["amount"] is None):
            self.add_error("percent_off", gettext("Give either a percentage or an amount."))
        elif (cleaned["amount"] is None) == bool(cleaned["currency"]):
            self.add_error("currency", gettext("Give a currency with an amount, and no currency with a percentage."))
        else:
            self._in_minor_units(cleaned)
        self._check_uses(cleaned["uses"])
        return cleaned

    def _in_minor_units(self, cleaned: dict[str, Any]) -> None:
        try:
            cleaned["amount"] = minor_units(cleaned["amount"], cleaned["currency"])
        except ValidationError as error:
            self.add_error("amount", error)

    def _check_uses(self, uses: int | None) -> None:
        if uses is None or self.instance._state.adding:  # noqa: SLF001 Django's own way to say that there is no row yet
            return
        used = uses_of(self.instance)
        if uses < used:
            self.add_error("uses", gettext("Buyers have already used it %(used)d times.") % {"used": used})
