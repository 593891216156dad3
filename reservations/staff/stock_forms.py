"""Define the forms for unnumbered places. Operations change the numbers of places, under the locks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminIntegerFieldWidget

from reservations.allocation.stock import FewerThanTaken
from reservations.operations import inventory
from sessions_app import operations as catalogue
from sessions_app.models import Pool, Session, TicketType
from sessions_app.new_prices import MAX_PLACES
from sessions_app.staff.forms import CatalogueForm, TicketTypeForm

if TYPE_CHECKING:
    Choice = forms.ModelMultipleChoiceField[Pool]
else:  # Django's forms are generic for type checkers only
    Choice = forms.ModelMultipleChoiceField


RULES = ["sells_from", "sells_until", "max_per_order", "max_per_buyer", "holds", "pay_at_door", "collect_minutes"]


class Total(forms.IntegerField):
    """A capacity.

    It is no field of the model, which would compare it with stock that changes while the form is open.
    """

    def __init__(self) -> None:
        super().__init__(min_value=0, max_value=MAX_PLACES, label=_("Capacity"), widget=UnfoldAdminIntegerFieldWidget())


def too_few(error: FewerThanTaken) -> str:
    text = gettext("“%(name)s”: %(taken)d places are held or sold, so the capacity cannot be lower.")
    return text % {"name": error.name, "taken": error.taken}


class PoolChoice(Choice):
    def label_from_instance(self, obj: Pool) -> str:
        return f"{obj.name} · {obj.session}"


class StockForm(TicketTypeForm):
    """A ticket type of unnumbered places, a new one or one that is being sold."""

    total = Total()
    shared = PoolChoice(
        Pool.objects.select_related("session__show"),
        required=False,
        label=_("Pools of places"),
        help_text=_("Each place also takes one place from each of these pools."),
        widget=UnfoldAdminCheckboxSelectMultipleWidget(),
    )

    class Meta:
        model = TicketType
        fields = ["session", "name", "price", *RULES]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        shared = cast(PoolChoice, self.fields["shared"])
        if self.instance.session_id:
            self.initial.update(total=self.instance.capacity, shared=list(self.instance.pools.all()))
            shared.queryset = Pool.objects.filter(session=self.instance.session_id).select_related("session__show")
        else:
            shared.queryset = Pool.objects.filter(session__in=Session.objects.upcoming()).select_related(
                "session__show"
            )

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        session = cleaned["session"].pk if cleaned.get("session") else self.instance.session_id
        if any(pool.session_id != session for pool in cleaned.get("shared") or ()):
            self.add_error("shared", gettext("A pool belongs to one session only."))
        begin, end = cleaned.get("sells_from"), cleaned.get("sells_until")
        if begin and end and begin >= end:
            self.add_error("sells_until", gettext("The sale must end after it begins."))
        if cleaned.get("collect_minutes") is not None and not cleaned.get("pay_at_door"):
            self.add_error(
                "collect_minutes",
                gettext("A deadline for collecting is only for tickets that may be paid at the door."),
            )
        return cleaned

    def keep(self) -> None:
        """Save the ticket type. Raises: FewerThanTaken."""
        kind, total, shared = self.instance, self.cleaned_data["total"], self.cleaned_data["shared"]
        if kind._state.adding:  # noqa: SLF001 Django's own way to say that there is no row yet
            kind.capacity = kind.available = total
            kind.position = kind.session.ticket_types.count()
            kind.save(force_insert=True)
            kind.pools.set(shared)
            return
        if "name" in self.changed_data:
            catalogue.note_renaming(session_id=kind.session_id)
        kind.save(update_fields=["name", "price", *RULES])  # the stock is being sold
        inventory.change_stock(ticket_type=kind.pk, capacity=total, pools=[pool.pk for pool in shared])


class PoolForm(CatalogueForm):
    """A pool of places, a new one or one that is being drawn on."""

    total = Total()

    class Meta:
        model = Pool
        fields = ["session", "name"]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if self.instance.session_id:
            self.initial["total"] = self.instance.capacity

    def keep(self) -> None:
        """Save the pool. Raises: FewerThanTaken."""
        pool, total = self.instance, self.cleaned_data["total"]
        if pool._state.adding:  # noqa: SLF001 as above
            pool.capacity = pool.available = total
            pool.save(force_insert=True)
            return
        pool.save(update_fields=["name"])
        inventory.change_pool(pool=pool.pk, capacity=total)
