"""Show sessions with their buyers in the admin. Moving and calling off ask first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from reservations.allocation import locks
from sessions_app.admin import SessionAdmin
from sessions_app.models import Session
from sessions_app.staff.questions import Question, Unanswered, ask, is_confirmed
from sessions_app.templatetags.frontrow import clock, full_day
from ticketing.letters import moving
from ticketing.models import (
    User,
)
from ticketing.payments import refunds
from ticketing.payments.bells import ring_called_off
from ticketing.payments.giving_back import calling_off
from ticketing.staff import guessing_admin  # noqa: F401 it registers its lists

if TYPE_CHECKING:
    AccountAdmin = DjangoUserAdmin[User]
else:  # Django's is generic for type checkers only
    AccountAdmin = DjangoUserAdmin


admin.site.unregister(Session)


@admin.register(Session)
class SessionWithBuyersAdmin(SessionAdmin):
    """Add to the catalogue's admin what it cannot do: call a session off that has sales."""

    actions = [*(SessionAdmin.actions or []), "call_off_and_refund"]
    readonly_fields = [*SessionAdmin.readonly_fields, "paid_back"]
    fieldsets = [*SessionAdmin.fieldsets, (_("Called off"), {"fields": ["paid_back"]})]

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except Unanswered as unanswered:
            return ask(request, unanswered.question, back=request.get_full_path(), opts=self.opts)

    def save_model(self, request: HttpRequest, obj: Session, form: Any, change: bool) -> None:
        """Change what tickets show through `moving`, which sends letters to all holders.

        Raises: Unanswered.
        """
        names = [name for name in form.changed_data if name in form.fields]
        shown = {name: getattr(obj, name) for name in names if name in moving.SHOWN}
        if not change or not shown:
            super().save_model(request, obj, form, change)
            return
        before = Session.objects.select_related("hall__venue").get(pk=obj.pk)
        told = moving.move(session_id=obj.pk, changes=shown)
        obj.save(update_fields=[name for name in names if name not in shown])
        if told:
            question = about_moving(before, obj, told)
            if not is_confirmed(request, question):
                raise Unanswered(question)
            text = ngettext(
                "%(number)d letter with the old and the new time and place will be sent.",
                "%(number)d letters with the old and the new time and place will be sent.",
                told,
            )
            self.message_user(request, text % {"number": told}, messages.SUCCESS)
        if late := obj.ticket_types.filter(sells_from__gte=obj.starts_at):
            warning = gettext(
                "The sale of these ticket types would begin only after the start: %(types)s. Change their sale "
                "dates first."
            )
            kinds = ", ".join(f"“{kind.name}”" for kind in late)
            self.message_user(request, warning % {"types": kinds}, messages.WARNING)

    @admin.action(description=_("Call the session off and give all money back"), permissions=["refund"])
    def call_off_and_refund(self, request: HttpRequest, sessions: QuerySet[Session]) -> HttpResponse | None:
        chosen = list(sessions)
        with transaction.atomic():
            locks.lock_sessions([session.pk for session in chosen])  # nothing is sold until it is called off
            question = calling_off(chosen)
            if not is_confirmed(request, question):
                return ask(request, question, back=request.get_full_path(), opts=self.opts)
            for session in chosen:
                refunds.call_off(session_id=session.pk)
        for session in chosen:
            ring_called_off(session.pk)
            self.log_change(request, session, gettext("Called off; all money goes back to the buyers."))
            text = gettext("“%(session)s” was called off. Its page shows how many sales were paid back.")
            self.message_user(request, text % {"session": session}, messages.SUCCESS)
        return None

    def has_refund_permission(self, request: HttpRequest) -> bool:
        return self.has_change_permission(request) and request.user.has_perm("ticketing.add_refund")

    @display(description=_("paid back"))
    def paid_back(self, session: Session) -> str:
        if not session.pk or session.cancelled_at is None:
            return ""
        how_far = refunds.progress(session.pk)
        said = gettext("%(paid)d of %(sales)d sales") % {"paid": how_far.paid_back, "sales": how_far.sales}
        if how_far.to_hand_out:
            said += ", " + gettext("%(number)d to hand out at the counter") % {"number": how_far.to_hand_out}
        if how_far.refused:
            said += ", " + gettext("%(number)d refused by a gateway") % {"number": how_far.refused}
        return said


def about_moving(before: Session, after: Session, letters: int) -> Question:
    text = ngettext(
        "%(number)d letter: one for each order, and one for each person who received a ticket from a buyer",
        "%(number)d letters: one for each order, and one for each person who received a ticket from a buyer",
        letters,
    )
    when = [
        f"{full_day(session.starts_at)}, {clock(session.starts_at)} · {session.place}" for session in (before, after)
    ]
    return Question(
        title=gettext("Move this session?"),
        facts=[
            (gettext("Show"), after.show.title),
            (gettext("Until now"), when[0]),
            (gettext("From now on"), when[1]),
            (gettext("People who get a letter"), text % {"number": letters}),
        ],
        warning=gettext("All ticket holders get the new time and place in a letter, and may give their tickets back."),
        button=gettext("Move it"),
        about=[after.pk, *when, letters],
    )
