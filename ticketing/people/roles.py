"""Define the permissions of staff in the admin: all for owners, sales for the box office, reading for the gate."""

from __future__ import annotations

from django.contrib.auth.models import Group, Permission
from django.db.models import Q

OURS = ["sessions_app", "reservations", "ticketing", "realtime"]
LOOK = ["view"]
RUN = ["view", "add", "change"]
SEES_CODES = "ticketing.view_ticket"  # sales and tickets of any buyer, with the codes that open doors

# Group → app label → model → permissions. An owner has all permissions.
GROUPS: dict[str, dict[str, dict[str, list[str]]]] = {
    "boxoffice": {
        "sessions_app": {
            "venue": RUN,
            "hall": RUN,
            "hallseat": [*RUN, "delete"],
            "show": RUN,
            "session": RUN,
            "tickettype": [*RUN, "delete"],
            "pool": RUN,
            "concession": [*RUN, "delete"],
            "lane": [*RUN, "delete"],
            "seat": ["view", "change"],
        },
        "reservations": {
            "reservation": ["view", "change"],  # release and move, on the live map
            "voucher": RUN,
        },
        "ticketing": {
            "sale": RUN,  # sell at the counter, correct an address
            "ticket": LOOK,
            "payment": LOOK,
            "refund": ["view", "add", "change"],
            "ledgerentry": LOOK,
            "checkin": LOOK,
            "collection": LOOK,
            "transfer": LOOK,
        },
        "realtime": {"event": LOOK},
    },
    "gate": {
        "sessions_app": {"session": LOOK, "show": LOOK, "hall": LOOK, "venue": LOOK},
        "ticketing": {"checkin": ["view", "add"]},  # check codes without a list of them
    },
}

NOT_FOR_THE_GATE = {"ticketing": {"ticket": LOOK, "sale": LOOK}}  # permissions that an earlier version gave


def ensure_groups() -> dict[str, Group]:
    """Make the groups and give them permissions. Keep what an operator added, except a gate's ticket lists."""
    groups = {name: Group.objects.get_or_create(name=name)[0] for name in ["owner", *GROUPS]}
    groups["owner"].permissions.add(*Permission.objects.filter(content_type__app_label__in=OURS))
    for name, apps in GROUPS.items():
        groups[name].permissions.add(*Permission.objects.filter(wanted(apps)))
    groups["gate"].permissions.remove(*Permission.objects.filter(wanted(NOT_FOR_THE_GATE)))
    return groups


def wanted(apps: dict[str, dict[str, list[str]]]) -> Q:
    names = Q(pk__in=[])
    for app, models in apps.items():
        codes = [f"{verb}_{model}" for model, verbs in models.items() for verb in verbs]
        names |= Q(content_type__app_label=app, codename__in=codes)
    return names
