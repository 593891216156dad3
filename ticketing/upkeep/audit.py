"""Define what must never be true of money and tickets; `manage.py audit` checks it."""

from __future__ import annotations

from realtime.audit import Check
from ticketing.upkeep import reconciling

CHECKS = [
    Check(
        name="used_without_a_check_in",
        says="a used ticket has no check-in that admitted it at that time, or an admitted ticket is still valid",
        sql="""
            SELECT ticket.id AS ticket, ticket.status, ticket.used_at, scan.id AS check_in, scan.scanned_at
            FROM ticketing_ticket AS ticket
            LEFT JOIN ticketing_checkin AS scan ON scan.ticket_id = ticket.id AND scan.outcome = 'admitted'
            WHERE (ticket.status = 'used' AND scan.scanned_at IS DISTINCT FROM ticket.used_at)
                OR (ticket.status = 'valid' AND scan.id IS NOT NULL)
        """,
    ),
    Check(
        name="paid_back_and_admitted",
        says="a ticket was both given back and admitted, and neither record knows of the other",
        sql="""
            SELECT ticket.id AS ticket, ticket.status, ticket.refund_id AS refund, ticket.used_at, scan.id AS check_in
            FROM ticketing_ticket AS ticket
            LEFT JOIN ticketing_checkin AS scan ON scan.ticket_id = ticket.id AND scan.outcome = 'admitted'
            WHERE (ticket.status = 'void' AND ticket.used_at IS DISTINCT FROM scan.scanned_at)
                OR (ticket.status <> 'void' AND ticket.refund_id IS NOT NULL)
        """,
    ),
    Check(
        name="let_in_and_paid_back",
        says=(
            "in the last seven days a gate reported that it had admitted a ticket before the refund: the buyer has "
            "the money back, but the ticket was used"
        ),
        sql="""
            SELECT ticket.id AS ticket, ticket.sale_id AS sale, refund.id AS refund, refund.asked_at, scan.scanned_at,
              scan.gate
            FROM ticketing_checkin AS scan
            JOIN ticketing_ticket AS ticket ON ticket.id = scan.ticket_id
            JOIN ticketing_refund AS refund ON refund.id = ticket.refund_id
            WHERE scan.outcome = 'admitted' AND scan.scanned_at < refund.asked_at AND refund.asked_at < scan.recorded_at
                AND scan.recorded_at > clock_timestamp() - interval '7 days' AND refund.reason <> 'session_cancelled'
                AND NOT EXISTS (
                    SELECT FROM ticketing_checkin AS known WHERE known.ticket_id = ticket.id
                        AND known.outcome = 'already_used' AND known.recorded_at < refund.asked_at
                )
        """,
    ),
    Check(
        name="void_and_not_told",
        says=(
            "a ticket that was passed on is void, and its holder got a letter about the ticket but none that says "
            "that it is void"
        ),
        sql="""
            SELECT ticket.id AS ticket, ticket.sale_id AS sale, ticket.refund_id AS refund
              FROM ticketing_ticket AS ticket
            WHERE ticket.status = 'void' AND ticket.holder IS NOT NULL AND NOT EXISTS (
                SELECT FROM realtime_event AS told
                  WHERE told.session = ticket.session_id AND told.name = 'ticket.voided'
                    AND told.facts ->> 'ticket' = ticket.id::text
            )
        """,
    ),
    Check(
        name="check_in_not_told_once",
        says="a check-in is not in the event log exactly once",
        sql="""
            SELECT scan.id AS check_in, scan.outcome, count(told.id) AS times FROM ticketing_checkin AS scan
            JOIN ticketing_ticket AS ticket ON ticket.id = scan.ticket_id
            LEFT JOIN realtime_event AS told
                ON told.session = ticket.session_id AND told.name IN ('ticket.checked_in', 'ticket.refused')
                AND told.facts ->> 'check_in' = scan.id::text
            GROUP BY scan.id, scan.outcome HAVING count(told.id) <> 1
        """,
    ),
    Check(
        name="passed_on_without_a_transfer",
        says="a ticket is with another buyer but was never passed on, or it was passed on and still has its old code",
        sql="""
            SELECT ticket.id AS ticket, ticket.code = last.code AS has_its_old_code FROM ticketing_ticket AS ticket
            LEFT JOIN (
                SELECT DISTINCT ON (ticket_id) ticket_id, code FROM ticketing_transfer ORDER BY ticket_id, id DESC
            ) AS last ON last.ticket_id = ticket.id
            WHERE (ticket.holder IS NOT NULL AND last.ticket_id IS NULL) OR ticket.code = last.code
        """,
    ),
    Check(
        name="passed_on_to_its_own_buyer",
        says="a ticket is passed on to its own buyer, so the buyer can neither print it nor give it back",
        sql="""
            SELECT ticket.id AS ticket, ticket.sale_id AS sale FROM ticketing_ticket AS ticket
            JOIN ticketing_sale AS sale ON sale.id = ticket.sale_id WHERE ticket.holder = sale.buyer
        """,
    ),
    Check(
        name="ticket_and_seat_disagree",
        says="a sold seat has no live ticket, or the seat of a live ticket is not sold for the ticket's sale",
        sql="""
            SELECT seat.id AS seat, seat.session_id AS session, seat.label, ticket.id AS ticket
            FROM (SELECT * FROM sessions_app_seat WHERE status = 's') AS seat
            FULL JOIN (
                SELECT ticket.id, ticket.seat_id, sale.reservation_id FROM ticketing_ticket AS ticket
                JOIN ticketing_sale AS sale ON sale.id = ticket.sale_id
                  WHERE ticket.status <> 'void' AND ticket.seat_id IS NOT NULL
            ) AS ticket ON ticket.seat_id = seat.id AND ticket.reservation_id = seat.reservation_id
            WHERE seat.id IS NULL OR ticket.id IS NULL
        """,
    ),
    Check(
        name="tickets_differ_from_places",
        says="a sale has more or fewer live tickets than places",
        sql="""
            SELECT sale.id AS sale, owner.quantity, count(ticket.id) AS tickets FROM ticketing_sale AS sale
            JOIN reservations_reservation AS owner ON owner.id = sale.reservation_id
            LEFT JOIN ticketing_ticket AS ticket ON ticket.sale_id = sale.id AND ticket.status <> 'void'
            GROUP BY sale.id, owner.quantity HAVING count(ticket.id) <> owner.quantity
        """,
    ),
    Check(
        name="confirmed_without_its_sale",
        says="a confirmed reservation and its sale do not refer to each other",
        sql="""
            SELECT owner.id AS reservation, owner.sale_id AS named, sale.id AS sale
              FROM reservations_reservation AS owner
            FULL JOIN ticketing_sale AS sale ON sale.reservation_id = owner.id
            WHERE (owner.status = 'confirmed' OR sale.id IS NOT NULL)
                AND (sale.id IS NULL OR owner.sale_id IS DISTINCT FROM sale.id OR owner.status <> 'confirmed')
        """,
    ),
    Check(
        name="sale_not_paid",
        says="a sale's payment was not captured within a minute, or a different amount was captured",
        sql="""
            SELECT sale.id AS sale, payment.id AS payment, payment.status, payment.amount, sale.total
              FROM ticketing_sale AS sale
            JOIN ticketing_payment AS payment ON payment.id = sale.payment_id
            WHERE payment.amount <> sale.total
                OR (
                    payment.status NOT IN ('captured', 'due') AND sale.sold_at < clock_timestamp() - interval '1 minute'
                    AND NOT (payment.status = 'voided' AND sale.refunded + sale.waived = sale.total)
                )
        """,
    ),
    Check(
        name="charged_without_a_sale",
        says="a payment was captured, but nothing was sold for it",
        sql="""
            SELECT payment.id AS payment, payment.reservation_id AS reservation FROM ticketing_payment AS payment
            LEFT JOIN ticketing_sale AS sale ON sale.payment_id = payment.id
            WHERE payment.status = 'captured' AND sale.id IS NULL
        """,
    ),
    Check(
        name="refunded_differs",
        says="the refunded amount of a sale differs from its refunds and void tickets",
        sql="""
            SELECT sale.id AS sale, sale.refunded, sale.waived, coalesce(back.amount, 0) AS refunds,
              coalesce(void.amount, 0) AS void
            FROM ticketing_sale AS sale
            JOIN ticketing_payment AS payment ON payment.id = sale.payment_id
            LEFT JOIN (SELECT sale_id, sum(amount) AS amount FROM ticketing_refund GROUP BY sale_id) AS back
              ON back.sale_id = sale.id
            LEFT JOIN (
                SELECT sale_id, sum(price) AS amount FROM ticketing_ticket WHERE refund_id IS NOT NULL GROUP BY sale_id
            ) AS void ON void.sale_id = sale.id
            WHERE payment.status <> 'voided'
                AND (sale.refunded <> coalesce(back.amount, 0)
                  OR sale.refunded + sale.waived <> coalesce(void.amount, 0))
        """,
    ),
    Check(
        name="refund_not_paid_back",
        says="a refund is not paid back after ten minutes: are the worker and `relay` running?",
        sql="""
            SELECT id AS refund, sale_id AS sale, amount, status, asked_at FROM ticketing_refund
            WHERE status = 'asked' AND changed_at < clock_timestamp() - interval '10 minutes'
        """,
    ),
    Check(
        name="refund_refused",
        says=(
            "the gateway refused a refund after the buyer got the message that it is on its way: ask the gateway "
            "again, or hand the money out (Refunds to hand out)"
        ),
        sql=(
            "SELECT id AS refund, sale_id AS sale, amount, refusals, asked_at FROM ticketing_refund"
            " WHERE status = 'refused'"
        ),
    ),
    Check(
        name="payment_unfinished",
        says=(
            "a payment has been open for longer than it may keep its seats, or its money is not given back after "
            "ten minutes"
        ),
        sql="""
            SELECT id AS payment, status, started_at FROM ticketing_payment
            WHERE status IN ('started', 'returning') AND started_at < clock_timestamp() - interval '15 minutes'
        """,
    ),
    Check(
        name="ledger_out_of_balance",
        says="the debits and credits of a posting do not sum to zero",
        sql="""
            SELECT posting, currency, sum(amount) AS sum FROM ticketing_ledgerentry
            GROUP BY posting, currency HAVING sum(amount) <> 0
        """,
    ),
    Check(
        name="ledger_differs_from_payments",
        says="the postings of a payment differ from the amounts that were captured, promised and paid back",
        sql="""
            SELECT payment.id AS payment, payment.status, payment.amount, back.paid, back.promised,
                posted.kept, posted.earned, posted.owed, posted.due
            FROM ticketing_payment AS payment
            LEFT JOIN ticketing_sale AS sale ON sale.payment_id = payment.id
            CROSS JOIN LATERAL (
                SELECT coalesce(sum(amount) FILTER (WHERE status IN ('paid_back', 'handed_out')), 0) AS paid,
                  coalesce(sum(amount), 0) AS promised
                FROM ticketing_refund WHERE sale_id = sale.id
            ) AS back
            CROSS JOIN LATERAL (
                SELECT CASE payment.method WHEN 'door' THEN coalesce(sum(taken.amount), 0)
                  ELSE payment.amount END AS amount
                FROM ticketing_collection AS taken JOIN ticketing_ticket AS ticket ON ticket.id = taken.ticket_id
                WHERE ticket.sale_id = sale.id
            ) AS taken
            CROSS JOIN LATERAL (
                SELECT coalesce(sum(amount) FILTER (WHERE account IN ('gateway', 'cash', 'fees')), 0) AS kept,
                    -coalesce(
                      sum(amount) FILTER (WHERE account IN ('revenue', 'booking', 'taxes', 'refunds')), 0) AS earned,
                    -coalesce(sum(amount) FILTER (WHERE account = 'owed'), 0) AS owed,
                    coalesce(sum(amount) FILTER (WHERE account = 'due'), 0) AS due
                FROM ticketing_ledgerentry WHERE payment_id = payment.id
            ) AS posted
            WHERE (posted.kept, posted.earned, posted.owed, posted.due) IS DISTINCT FROM (
                CASE WHEN payment.status IN ('captured', 'due') THEN taken.amount - back.paid ELSE 0 END,
                CASE WHEN payment.status IN ('captured', 'due')
                  THEN payment.amount - coalesce(sale.waived, 0) - back.promised ELSE 0 END,
                CASE WHEN payment.status IN ('captured', 'due') THEN back.promised - back.paid ELSE 0 END,
                CASE WHEN payment.status IN ('captured', 'due')
                  THEN payment.amount - coalesce(sale.waived, 0) - taken.amount ELSE 0 END
            )
        """,
    ),
    Check(
        name="due_differs",
        says="the amount due at the door for a sale's tickets differs from the rest of its price, or from its payment",
        sql="""
            SELECT sale.id AS sale, payment.status, sale.total, sale.waived, owed.due,
              coalesce(taken.amount, 0) AS taken
            FROM ticketing_sale AS sale JOIN ticketing_payment AS payment ON payment.id = sale.payment_id
            CROSS JOIN LATERAL (SELECT coalesce(sum(due), 0) AS due FROM ticketing_ticket
              WHERE sale_id = sale.id) AS owed
            LEFT JOIN LATERAL (
                SELECT sum(one.amount) AS amount FROM ticketing_collection AS one
                JOIN ticketing_ticket AS ticket ON ticket.id = one.ticket_id WHERE ticket.sale_id = sale.id
            ) AS taken ON true
            WHERE (payment.method = 'door' AND owed.due <> sale.total - sale.waived - coalesce(taken.amount, 0))
                OR (payment.status = 'due') <> (owed.due > 0)
        """,
    ),
    Check(
        name="ledger_parts_differ",
        says="the posted booking fees or taxes of a payment differ from those of its tickets that were not given back",
        sql="""
            SELECT payment.id AS payment, posted.fees AS posted_fees, kept.fees, posted.taxes AS posted_taxes,
              kept.taxes
            FROM ticketing_payment AS payment JOIN ticketing_sale AS sale ON sale.payment_id = payment.id
            CROSS JOIN LATERAL (
                SELECT coalesce(sum(fee), 0) AS fees, coalesce(sum(tax), 0) AS taxes FROM ticketing_ticket
                WHERE sale_id = sale.id AND refund_id IS NULL
            ) AS kept
            CROSS JOIN LATERAL (
                SELECT -coalesce(sum(amount) FILTER (WHERE account = 'booking'), 0) AS fees,
                    -coalesce(sum(amount) FILTER (WHERE account = 'taxes'), 0) AS taxes
                FROM ticketing_ledgerentry WHERE payment_id = payment.id
            ) AS posted
            WHERE payment.status IN ('captured', 'due')
              AND (posted.fees, posted.taxes) IS DISTINCT FROM (kept.fees, kept.taxes)
        """,
    ),
    Check(
        name="sale_differs_from_its_lines",
        says="the total of a sale is not the sum of its line items or of its tickets",
        sql="""
            SELECT sale.id AS sale, sale.total, said.sum AS lines, made.sum AS tickets FROM ticketing_sale AS sale
            CROSS JOIN LATERAL (
                SELECT coalesce(sum((line #>> '{price,amount}')::bigint), 0) AS sum
                  FROM jsonb_array_elements(sale.lines) AS line
            ) AS said
            CROSS JOIN LATERAL (
                SELECT coalesce(sum(price), 0) AS sum FROM ticketing_ticket WHERE sale_id = sale.id
            ) AS made
            WHERE sale.total <> said.sum OR sale.total <> made.sum
        """,
    ),
    Check(
        name="ledger_differs_from_gateway",
        says=(
            "the postings of a payment differ from the amounts that the sandbox took and gave back according to its "
            "own record"
        ),
        sql="""
            SELECT payment.id AS payment, payment.status, charge.status AS at_the_gateway, charge.amount,
              charge.refunded, posted.kept
            FROM ticketing_payment AS payment LEFT JOIN ticketing_sandboxcharge AS charge ON charge.attempt = payment.id
            CROSS JOIN LATERAL (
                SELECT coalesce(sum(entry.amount), 0) AS kept FROM ticketing_ledgerentry AS entry
                LEFT JOIN ticketing_refund AS refund ON refund.id = entry.refund_id
                WHERE entry.payment_id = payment.id AND entry.account IN ('gateway', 'fees')
                  AND refund.status IS DISTINCT FROM 'handed_out'
            ) AS posted
            WHERE payment.method = 'fake' AND payment.amount > 0
              AND payment.changed_at < clock_timestamp() - interval '1 minute'
                AND NOT EXISTS (
                    SELECT FROM ticketing_refund AS refund JOIN ticketing_sale AS sale ON sale.id = refund.sale_id
                    WHERE sale.payment_id = payment.id AND refund.changed_at >= clock_timestamp() - interval '1 minute'
                )
                AND posted.kept <> coalesce(
                  CASE charge.status WHEN 'captured' THEN charge.amount - charge.refunded END, 0)
        """,
    ),
    Check(
        name="ledger_differs_from_stripe",
        says=(
            "the postings of a payment differ from the amounts that Stripe took and gave back according to its own "
            "record, or Stripe does not answer"
        ),
        look=reconciling.differences,
    ),
    Check(
        name="sandbox_differs",
        says="the sandbox gateway's record of an attempt differs from our record",
        sql="""
            SELECT payment.id AS payment, payment.status, charge.status AS at_the_gateway, payment.amount,
              charge.amount AS charged
            FROM ticketing_payment AS payment LEFT JOIN ticketing_sandboxcharge AS charge ON charge.attempt = payment.id
            WHERE payment.method = 'fake' AND payment.amount > 0
              AND payment.changed_at < clock_timestamp() - interval '1 minute' AND (
                (payment.status IN ('captured', 'returned')) <> coalesce(charge.status = 'captured', false)
                OR (charge.status = 'captured' AND charge.amount <> payment.amount)
                OR (payment.status IN ('declined', 'failed', 'voided') AND charge.status = 'authorised')
            )
        """,
    ),
]
