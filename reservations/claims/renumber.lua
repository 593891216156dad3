-- Move an admitted request to another queue than it was admitted for, with a number of a new epoch.
-- KEYS  1 arrivals of the session   2 the request as asked   3 the idempotency record
-- ARGV  1 reservation id   2 its new arrival   3 the last arrival of its batch in the session   4 the queue
--       5 the request, JSON
if tonumber(redis.call('HGET', KEYS[1], 'last') or '0') < tonumber(ARGV[3]) then
  redis.call('HSET', KEYS[1], 'last', ARGV[3], 'line', ARGV[4])
end
redis.call('SET', KEYS[2], ARGV[2] .. ' ' .. ARGV[5], 'EX', 600)
if redis.call('HGET', KEYS[3], 'id') == ARGV[1] then redis.call('HSET', KEYS[3], 'arrival', ARGV[2]) end
