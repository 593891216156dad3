from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib.auth.forms import BaseUserCreationForm
from django.utils.translation import gettext_lazy as _

from ticketing.models import Ticket, User
from ticketing.payments import gateways
from ticketing.payments.gateways import registry
from ticketing.refusals import CannotPassOn, UnknownReceiver, UnknownToken
from ticketing.tickets import transfers

OBSTACLES = {
    "used": _("This ticket was already used."),
    "void": _("This ticket is void."),
    "called_off": _("The session was called off."),
    "over": _("The session is over."),
    "own": _("This is your own name. Enter the name of another account."),
}


class PassOnForm(forms.Form):
    """Name the receiver of a ticket; the cleaned name is that buyer's id."""

    username = forms.CharField(
        label=_("Name of their account"),
        max_length=150,
        help_text=_("The name that this person signs in with."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}),
    )

    def clean_username(self) -> UUID:
        try:
            return transfers.account(self.cleaned_data["username"])
        except UnknownReceiver:
            raise forms.ValidationError(_("There is no account with this name.")) from None

    def pass_on(self, ticket: Ticket, *, giver: UUID) -> bool:
        """Transfer the ticket, and tell whether that worked; otherwise the form says why not."""
        try:
            transfers.pass_on(ticket_id=ticket.pk, giver=giver, receiver=self.cleaned_data["username"])
        except CannotPassOn as error:
            self.add_error("username", OBSTACLES[error.why])
            return False
        return True


class TakenForm(forms.Form):
    """Record how a customer paid at the counter."""

    method = forms.ChoiceField(
        label=_("Paid"),
        choices=lambda: [(method.name, method.label) for method in registry.of_place("counter")],
        initial=registry.CASH.name,
        widget=forms.RadioSelect,
    )
    transaction = forms.CharField(
        label=_("Transaction number of the terminal"),
        required=False,
        max_length=40,
        help_text=_("The number on the terminal's slip, never the card's number."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    email = forms.EmailField(
        label=_("E-mail for the receipt and the tickets"),
        required=False,
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
    )

    def clean(self) -> dict[str, Any]:
        """Require a transaction for a card, and drop it for cash."""
        taken = self.cleaned_data
        method = taken.get("method", registry.CARD.name)
        if not registry.METHODS[method].takes_token:
            taken["transaction"] = ""
        elif "transaction" in taken:
            try:
                gateways.at_the_counter(method).check(taken["transaction"])
            except UnknownToken:
                self.add_error("transaction", _("This is not a transaction number."))
        return taken


class RegisterForm(BaseUserCreationForm):  # type: ignore[type-arg] # generic in the stubs only
    email = forms.EmailField(
        label=_("E-mail"), required=False, widget=forms.EmailInput(attrs={"autocomplete": "email"})
    )

    class Meta:
        model = User
        fields = ("username", "email")
        labels = {"username": _("Name to sign in with")}
        help_texts = {"username": ""}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password2"].help_text = ""

    def clean_username(self) -> str:
        name = User.normalize_username(self.cleaned_data["username"])
        if User.objects.filter(username__iexact=name).exists():
            raise forms.ValidationError(_("This name is already taken. Choose another name."), code="taken")
        return name
