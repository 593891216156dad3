-- Hold two seats in one transaction. Variables: session, kind (its ticket type), first (its first seat's id), each
-- (holds per client), i.
\set i :i + 1
\set one :first + 2 * (:client_id * :each + :i - 1)
\set two :one + 1
BEGIN;
SELECT id, label, status FROM sessions_app_seat WHERE id IN (:one, :two) ORDER BY id FOR NO KEY UPDATE;
INSERT INTO reservations_reservation
    (id, session_id, buyer, status, arrival, seats, quantity, lines, total, held_at, expires_at, extensions, reason, conflicts, scope,
     key, fingerprint, accepted_at, settled_at, changed_at)
SELECT gen_random_uuid(), :session::uuid, gen_random_uuid(), 'held', :one, array_agg(label), 2,
       jsonb_agg(jsonb_build_object('seat', label, 'ticket_type', :kind::text, 'name', 'Standard',
                                    'price', jsonb_build_object('amount', 2500, 'currency', 'BRL'))),
       5000, now(), now() + interval '30 seconds', 0, '', '[]', '', '', '', now(), now(), now()
FROM sessions_app_seat WHERE id IN (:one, :two) AND status = 'f'
RETURNING id AS reservation \gset
UPDATE sessions_app_seat SET status = 'h', reservation_id = :reservation::uuid, held_until = now() + interval '30 seconds'
WHERE id IN (:one, :two);
INSERT INTO realtime_event (id, name, session, facts, occurred_at)
VALUES (gen_random_uuid(), 'reservation.held', :session::uuid, jsonb_build_object('reservation', :reservation::text), now());
COMMIT;
