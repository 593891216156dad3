"""Take steps of payments and die on the way. Each argument is a fault point, an action and an id, or several ids.

    python -m tests.faults.dying payment.sold:allocate:<id> payment.sold:together:<id>,<id> refund.asked:pay_back:<id>

Each runs in a forked process, so that Django is set up once.
"""

from __future__ import annotations

import os
import sys
from uuid import UUID

import django


def main(errands: list[str]) -> int:
    django.setup()
    from django.conf import settings

    from ticketing.payments import refunds, steps

    survived = 0
    for errand in errands:
        point, what, name = errand.split(":")
        child = os.fork()
        if child == 0:
            settings.FAULT_POINT = point
            if what == "finish":
                steps.finish_payment(payment_id=UUID(name))
            elif what == "together":
                steps.finish_payments([(UUID(one), "") for one in name.split(",")])
            else:
                refunds.pay_back(refund_id=UUID(name))
            os._exit(0)
        survived += os.WIFEXITED(os.waitpid(child, 0)[1])
    return survived


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
