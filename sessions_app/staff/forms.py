"""Define the admin's forms for cinema managers."""

from __future__ import annotations

import datetime as dt
import hashlib
from decimal import Decimal
from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.widgets import (
    UnfoldAdminFileFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from base.admin_forms import WholeRowForm
from base.clock import reckoned_now
from sessions_app import operations, plan_files, plans
from sessions_app.models import MAX_SEATS, WHOLE, Concession, Hall, Session, TicketType, Venue
from sessions_app.new_prices import HIGHEST_PRICE, MAX_MINUTES, MAX_PLACES, NewConcession, NewTicketType
from sessions_app.operations import NewSession
from sessions_app.staff.sentences import SENTENCES
from sessions_app.templatetags.frontrow import minor_digits


class CatalogueForm(WholeRowForm):
    sentences = SENTENCES


class Price(forms.DecimalField):
    """An amount as people write it, like 25.00."""

    def __init__(self, *, required: bool = False, **options: Any) -> None:
        super().__init__(
            min_value=0,
            max_value=HIGHEST_PRICE,
            max_digits=12,
            required=required,
            localize=True,
            widget=UnfoldAdminTextInputWidget({"inputmode": "decimal"}),
            **options,
        )


class Number(forms.IntegerField):
    def __init__(self, *, highest: int, **options: Any) -> None:
        super().__init__(
            min_value=1, max_value=highest, required=False, widget=UnfoldAdminIntegerFieldWidget(), **options
        )


class Points(forms.IntegerField):
    """Hundredths of a percent; empty means 0."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            min_value=0, max_value=WHOLE, required=False, widget=UnfoldAdminIntegerFieldWidget(), **options
        )

    def clean(self, value: Any) -> int:
        return super().clean(value) or 0


def minor_units(amount: Decimal | None, currency: str) -> int | None:
    """Convert an amount to minor units. Raises: ValidationError, for more decimal places than the currency has."""
    if amount is None:
        return None
    units = amount.scaleb(minor_digits(currency))
    if units != units.to_integral_value():
        raise ValidationError(gettext("The amount has more decimal places than its currency."))
    return int(units)


class CreateSessionForm(CatalogueForm):
    """Put a session on sale: in a hall, in a room of rows, or without seats."""

    duration_minutes = Number(highest=MAX_MINUTES, label=_("Minutes"), help_text=_("Empty: the length of the show."))
    rows = Number(highest=MAX_SEATS, label=_("Rows"), help_text=_("Only for a session without a hall."))
    seats_per_row = Number(highest=MAX_SEATS, label=_("Seats per row"))
    price = Price(label=_("Price of a seat"), help_text=_("For example 25.00."))
    places = Number(
        highest=MAX_PLACES, label=_("How many"), help_text=_("For standing or free seating. Empty: no such places.")
    )
    places_name = forms.CharField(max_length=60, required=False, label=_("Name"), widget=UnfoldAdminTextInputWidget())
    places_price = Price(label=_("Price"))
    fee = Price(label=_("Booking fee"), help_text=_("Added to the price of each ticket that is not free."))
    booking_fee_basis_points = Points(
        label=_("Booking fee in hundredths of a percent"),
        help_text=_("A share of the price, added to the price as well: 750 is 7.5 percent."),
    )
    tax_basis_points = Points(
        label=_("Tax in hundredths of a percent"),
        help_text=_("Contained in the price and shown separately: 700 is 7 percent of the price without tax."),
    )
    concessions = forms.CharField(
        required=False,
        label=_("Concessions"),
        help_text=_(
            "Write one concession per line, for example “Student; 50%; student card” or “Child; 12.50”. The third "
            "part is optional: what the buyer must show at the door."
        ),
        widget=UnfoldAdminTextareaWidget({"rows": 3}),
    )

    class Meta:
        model = Session
        fields = [
            "show",
            "hall",
            "room",
            "starts_at",
            "on_sale_at",
            "currency",
            "hold_seconds",
            "max_hold_seconds",
            "max_per_buyer",
            "accounts_required",
            "booking_fee_basis_points",
            "tax_basis_points",
        ]
        labels = {"room": _("Name of the room")}

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        starts_at = cleaned.get("starts_at")
        if starts_at and starts_at <= reckoned_now():
            self.add_error("starts_at", gettext("That time has passed."))
        if not self.errors:
            self.check_as_a_whole()
        return cleaned

    def check_as_a_whole(self) -> None:
        names = {"ticket_types": "places"}
        try:
            new = operations.draft(**self.asked())
        except ValidationError as error:
            for field, messages in error.message_dict.items():
                self.add_error(names.get(field, field), messages)
            return
        clash = operations.clash(new.session)
        if clash is not None:
            self.add_error("starts_at", gettext("The hall is taken at that time: %(session)s.") % {"session": clash})

    def asked(self) -> NewSession:
        cleaned = self.cleaned_data
        hall: Hall | None = cleaned.get("hall")
        return NewSession(
            show=cleaned["show"].pk,
            hall=hall.pk if hall else None,
            room=cleaned["room"],
            rows=cleaned["rows"],
            seats_per_row=cleaned["seats_per_row"],
            starts_at=cleaned["starts_at"],
            on_sale_at=cleaned["on_sale_at"],
            duration_minutes=cleaned["duration_minutes"],
            price=self.in_minor_units("price"),
            currency=cleaned["currency"],
            hold_seconds=cleaned["hold_seconds"],
            max_hold_seconds=cleaned["max_hold_seconds"],
            max_per_buyer=cleaned["max_per_buyer"],
            accounts_required=cleaned["accounts_required"],
            ticket_types=self.stock(),
            booking_fee=self.in_minor_units("fee") or 0,
            booking_fee_basis_points=cleaned["booking_fee_basis_points"],
            tax_basis_points=cleaned["tax_basis_points"],
            concessions=[self.concession(line) for line in cleaned["concessions"].splitlines() if line.strip()],
        )

    def concession(self, line: str) -> NewConcession:
        """Read a line like “Student; 50%; student card”. Raises: ValidationError."""
        name, value, note, *_more = [*(part.strip() for part in line.split(";", 2)), "", ""]
        try:
            if value.endswith("%"):
                return NewConcession(name=name, percent_off=int(value.removesuffix("%")), note=note)
            price = minor_units(Price(required=True).clean(value), self.cleaned_data["currency"])
        except (ValueError, ValidationError):
            raise ValidationError(
                {"concessions": gettext("This line cannot be read: %(line)s") % {"line": line}}
            ) from None
        return NewConcession(name=name, price=price, note=note)

    def stock(self) -> list[NewTicketType]:
        places = self.cleaned_data["places"]
        if not places:
            return []
        name = self.cleaned_data["places_name"] or gettext("General admission")
        return [NewTicketType(name=name, price=self.in_minor_units("places_price"), capacity=places)]

    def in_minor_units(self, field: str) -> int | None:
        try:
            return minor_units(self.cleaned_data[field], self.cleaned_data["currency"])
        except ValidationError as error:
            raise ValidationError({field: error.messages}) from error


class TicketTypeForm(CatalogueForm):
    """Edit the name and price of a ticket type; its stock is being sold and has no form."""

    price = Price(required=True, label=_("Price"))

    class Meta:
        model = TicketType
        fields = ["name", "price"]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if self.instance.session_id:
            digits = minor_digits(self.instance.session.currency)
            self.initial["price"] = Decimal(self.instance.price).scaleb(-digits)

    def clean_price(self) -> int | None:
        known = self.instance.session if self.instance.session_id else None
        session: Session | None = self.cleaned_data.get("session") or known
        return minor_units(self.cleaned_data["price"], session.currency) if session else None


class ConcessionForm(CatalogueForm):
    """Edit a concession, with its price as people write it."""

    price = Price(
        label=_("Price"),
        help_text=_("Used if it is lower than the place's own price. Give either this or a percentage."),
    )

    class Meta:
        model = Concession
        fields = ["name", "percent_off", "price", "note", "position"]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if self.instance.price is not None:
            digits = minor_digits(self.instance.session.currency)
            self.initial["price"] = Decimal(self.instance.price).scaleb(-digits)

    def clean_price(self) -> int | None:
        return minor_units(self.cleaned_data["price"], self.instance.session.currency)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not self.errors and (cleaned["percent_off"] is None) == (cleaned["price"] is None):
            self.add_error("percent_off", gettext("Give either a percentage or a price."))
        return cleaned


class SessionRulesForm(CatalogueForm):
    """Edit a session that is on sale, with its booking fee as people write it."""

    booking_fee = Price(label=_("Booking fee"), help_text=_("Added to the price of each ticket that is not free."))
    booking_fee_basis_points = Points(
        label=_("Booking fee in hundredths of a percent"),
        help_text=_("A share of the price, added to the price as well: 750 is 7.5 percent."),
    )
    tax_basis_points = Points(
        label=_("Tax in hundredths of a percent"),
        help_text=_("Contained in the price and shown separately: 700 is 7 percent of the price without tax."),
    )

    class Meta:
        model = Session
        fields = "__all__"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if "booking_fee" in self.fields:  # absent for readers without the right to change
            digits = minor_digits(self.instance.currency)
            self.initial["booking_fee"] = Decimal(self.instance.booking_fee).scaleb(-digits)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        starts_at, ends_at = cleaned.get("starts_at"), cleaned.get("ends_at")
        if "starts_at" in self.changed_data and starts_at and starts_at <= reckoned_now():
            self.add_error("starts_at", gettext("That time has passed."))
        moved = not {"starts_at", "ends_at"}.isdisjoint(self.changed_data)
        if moved and starts_at and ends_at and ends_at - starts_at > dt.timedelta(minutes=MAX_MINUTES):
            self.add_error("ends_at", gettext("A session may last 24 hours at most."))
        return cleaned

    def clean_booking_fee(self) -> int:
        return minor_units(self.cleaned_data["booking_fee"], self.instance.currency) or 0


class HallForm(CatalogueForm):
    """Edit a hall; while it has no chairs, also create them as a plain room of rows."""

    rows = Number(highest=MAX_SEATS, label=_("Rows"))
    seats_per_row = Number(highest=MAX_SEATS, label=_("Seats per row"))

    class Meta:
        model = Hall
        fields = ["venue", "name"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not self.errors:
            try:
                operations.plan(hall=None, rows=cleaned.get("rows"), seats_per_row=cleaned.get("seats_per_row"))
            except ValidationError as error:
                self.add_error(None, error)
        return cleaned

    def make_chairs(self) -> None:
        rows, seats_per_row = self.cleaned_data.get("rows"), self.cleaned_data.get("seats_per_row")
        if rows and seats_per_row and not self.instance.seats.exists():
            operations.furnish(hall=self.instance, places=plans.grid(rows=rows, seats_per_row=seats_per_row))


class PlanForm(forms.Form):
    """Read the chairs of a hall from a file or as text; for a new hall, also its venue and name."""

    venue = forms.ModelChoiceField(Venue.objects.all(), label=_("Venue"), widget=UnfoldAdminSelectWidget())
    name = forms.CharField(max_length=80, label=_("Name"), widget=UnfoldAdminTextInputWidget())
    file = forms.FileField(
        required=False,
        label=_("File"),
        help_text=_("A JSON file or a text drawing of at most 2 MB."),
        widget=UnfoldAdminFileFieldWidget({"accept": ".json,.txt,application/json,text/plain"}),
    )
    text = forms.CharField(
        required=False,
        strip=False,
        max_length=plan_files.MAX_BYTES,
        label=_("Plan"),
        help_text=_(
            "Each line is a row: a = seat, w = wheelchair space, c = companion seat, l = love seat, _ = aisle."
        ),
        widget=UnfoldAdminTextareaWidget(
            {
                "rows": 12,
                "wrap": "off",
                "spellcheck": "false",
                "placeholder": "wcaa_aaaaaaaa_aacw\naaaa_aaaaaaaa_aaaa\n\naaaa_aallllaa_aaaa",
                "class": "font-mono",
            }
        ),
    )
    seen = forms.CharField(required=False, widget=forms.HiddenInput())  # the plan that a preview has shown

    def __init__(self, *arguments: Any, hall: Hall | None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.hall = hall
        self.places: list[plans.Place] = []
        if hall is not None:
            del self.fields["venue"], self.fields["name"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        venue, name = cleaned.get("venue"), cleaned.get("name")
        if venue and name and Hall.objects.filter(venue=venue, name=name).exists():
            self.add_error("name", gettext("This venue has a hall of that name."))
        if not {"file", "text"} & self.errors.keys():
            self.read_plan(self.given())
        return cleaned

    def given(self) -> bytes:
        """Return the file, or else the text."""
        file = self.cleaned_data["file"]
        if file is None:
            return str(self.cleaned_data["text"]).encode()
        read: bytes = file.read(plan_files.MAX_BYTES + 1)  # enough to see that it is too large
        return read

    def read_plan(self, given: bytes) -> None:
        try:
            self.places = plan_files.read(given)
        except plan_files.PlanRefused as refused:
            self.add_error("text", refused.lines())
        if len(given) <= plan_files.MAX_BYTES:
            text = given.decode("utf-8-sig", errors="replace").replace("\0", "")
            self.show_again(text=text, seen=self.digest())

    def show_again(self, **values: str) -> None:
        """Show the values again, to be corrected or kept."""
        data = cast(QueryDict, self.data).copy()
        for name, value in values.items():
            data[name] = value
        self.data = data

    def digest(self) -> str:
        """Return a digest of the chairs, so that the kept plan is the one that was shown."""
        return hashlib.sha256(plan_files.document.write(self.places).encode()).hexdigest()

    def was_seen(self) -> bool:
        return bool(self.cleaned_data["seen"] == self.digest())

    def keep(self) -> Hall:
        """Save the chairs and return the hall."""
        if self.hall is None:
            cleaned = self.cleaned_data
            return operations.open_hall(venue=cleaned["venue"], name=cleaned["name"], places=self.places)
        operations.refurnish(hall_id=self.hall.pk, places=self.places)
        return self.hall
