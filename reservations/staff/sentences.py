"""Map each constraint of a voucher to the form's field and the sentence for a violation."""

from __future__ import annotations

from collections.abc import Mapping

from django.utils.translation import gettext_lazy as _

from base.admin_forms import Sentence

SENTENCES: Mapping[str, Sentence] = {
    "voucher_code_is_in_capitals": ("code", _("3 to 32 letters from A to Z, digits and hyphens.")),
    "voucher_is_a_share_or_an_amount": ("percent_off", _("Give either a percentage or an amount.")),
    "voucher_ends_after_it_begins": ("valid_until", _("A voucher must end after it begins.")),
    "voucher_can_be_used_at_least_once": (
        "uses",
        _("A voucher must be usable at least once. Leave it empty for no limit."),
    ),
}
