-- Move an admitted request to another queue than it was admitted for, with a number of a new epoch.
-- KEYS  RenumberKeys of arguments.py
local arrivals, stored, idempotency = unpack(KEYS)
-- ARGV  RenumberArguments of arguments.py; `last_of_batch`: the last arrival of its batch in the session
local id, arrival, last_of_batch, queue, request = unpack(ARGV)
if tonumber(redis.call('HGET', arrivals, 'last') or '0') < tonumber(last_of_batch) then
  redis.call('HSET', arrivals, 'last', last_of_batch, 'line', queue)
end
redis.call('SET', stored, arrival .. ' ' .. request, 'EX', 600)
if redis.call('HGET', idempotency, 'id') == id then redis.call('HSET', idempotency, 'arrival', arrival) end
