"""Map each constraint of the catalogue to the form's field and the sentence for a violation."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.translation import gettext_lazy as _

from base.admin_forms import Sentence

SENTENCES: Mapping[str, Sentence] = {
    "hall_name_once_a_venue": ("name", _("This venue has a hall of that name.")),
    "hall_seat_label_once_a_hall": ("label", _("This hall has a seat with that label.")),
    "session_ends_after_it_starts": ("ends_at", _("A session must end after it starts.")),
    "session_goes_on_sale_before_it_starts": ("on_sale_at", _("The sale must begin before the session starts.")),
    "session_longest_hold_covers_a_hold": (
        "max_hold_seconds",
        _("The longest hold must be at least as long as a hold."),
    ),
    "session_sells_at_least_one_a_buyer": ("max_per_buyer", _("A buyer must be allowed at least one place.")),
    "session_fees_and_tax_are_bounded": ("booking_fee", _("The booking fee or the tax is too high.")),
    "session_lets_in_and_charges_at_least_one_a_second": (
        "admission_rate",
        _("A rate must be at least one per second. Leave it empty for no limit."),
    ),
    "session_settles_at_least_one_a_second": (
        "settle_rate",
        _("A rate must be at least one per second. Leave it empty for no limit."),
    ),
    "session_hall_hosts_one_at_a_time": ("starts_at", _("Another session uses the hall at that time.")),
    "lane_name_once_a_session": ("name", _("This session has a lane of that name.")),
    "lane_code_once_a_session": ("code", _("This session has a lane with that code.")),
    "lane_weight_is_bounded": ("weight", _("The weight must be from 1 to 100.")),
    "lane_has_a_name_and_a_code": ("name", _("A lane needs a name and a code.")),
    "pool_name_once_a_session": ("name", _("This session has a pool of that name.")),
    "pool_available_never_negative": (
        "total",
        _("The capacity cannot be lower than the number of held and sold places."),
    ),
    "pool_available_never_above_capacity": ("total", _("The number of places left cannot exceed the capacity.")),
    "ticket_type_name_once_a_session": ("name", _("This session has a ticket type of that name.")),
    "ticket_type_available_never_negative": (
        "total",
        _("The capacity cannot be lower than the number of held and sold places."),
    ),
    "ticket_type_available_never_above_capacity": ("total", _("The number of places left cannot exceed the capacity.")),
    "ticket_type_stock_is_whole": ("total", _("Places without a number need a capacity.")),
    "ticket_type_only_a_stock_has_rules_of_its_own": (
        "sells_from",
        _("Only unnumbered places can have rules of their own."),
    ),
    "ticket_type_sells_from_before_until": ("sells_until", _("The sale must end after it begins.")),
    "ticket_type_sells_at_least_one": ("max_per_order", _("A buyer must be allowed at least one place.")),
    "ticket_type_only_door_sales_have_a_collecting_deadline": (
        "collect_minutes",
        _("A deadline for collecting is only for tickets that may be paid at the door."),
    ),
    "concession_name_once_a_session": ("name", _("This session has a concession of that name.")),
    "concession_is_a_share_or_a_price": ("percent_off", _("Give either a percentage or a price.")),
}
