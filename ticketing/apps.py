from django.apps import AppConfig
from django.core.checks import Tags, register
from django.utils.translation import gettext_lazy as _


class TicketingConfig(AppConfig):
    name = "ticketing"
    verbose_name = _("Tickets and money")

    def ready(self) -> None:
        from reservations import orders as held
        from ticketing.checks import no_demo_accounts
        from ticketing.orders import orders

        register(no_demo_accounts, Tags.security)
        held.pay_in_process = orders.pay
