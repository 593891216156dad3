-- Admit one request, or say why not; all of it or nothing.
-- KEYS  1 arrivals of the session: the last one given, and the line its epoch belongs to   2 what the buyer holds in it   3 the idempotency record   4 the stock of the ticket type
--       5 the request as asked      6… one claim a seat, sorted
-- ARGV  1 reservation id   2 claim ms   3 places   4 places a buyer may have   5 fingerprint   6 lease ms ('' = no key)
--       7 stock as PostgreSQL last said ('' = no stock)   8 first arrival of a new epoch ('' = none)   9 lowest arrival allowed
--       10 the request, JSON   11 the line it is to stand in
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local id = ARGV[1]
local keyed = ARGV[6] ~= ''
local arrival = nil

if keyed then
  local known = redis.call('HMGET', KEYS[3], 'id', 'fingerprint', 'answered', 'arrival', 'lease', 'status', 'body')
  if known[1] then
    if known[2] ~= ARGV[5] then return {'mismatch'} end
    if known[3] then return {'replay', known[1], known[4], known[6] or '', known[7] or ''} end
    if tonumber(known[5]) > now then return {'in_flight', tonumber(known[5]) - now} end
    id, arrival = known[1], tonumber(known[4])
  end
end

redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
local has = 0
for _, held in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  local owner, places = string.match(held, '^(.-):(%d+)$')
  if owner ~= id then has = has + tonumber(places) end
end
if has + tonumber(ARGV[3]) > tonumber(ARGV[4]) then return {'limit', has} end

local lost = {}
for i = 6, #KEYS do
  local owner = redis.call('GET', KEYS[i])
  if owner and owner ~= id then
    table.insert(lost, i - 5)
    table.insert(lost, string.sub(owner, 1, 2) == 's:' and 'sold' or 'held')
  end
end
if #lost > 0 then return {'taken', unpack(lost)} end

if ARGV[7] ~= '' then
  redis.call('SET', KEYS[4], ARGV[7], 'NX', 'EX', 10)
  if not arrival and tonumber(redis.call('GET', KEYS[4])) < tonumber(ARGV[3]) then return {'sold_out'} end
end

if not arrival then
  local counter = redis.call('HMGET', KEYS[1], 'last', 'line')
  local last, line = tonumber(counter[1] or '0'), counter[2]
  if ARGV[8] ~= '' and last < tonumber(ARGV[8]) then
    last, line = tonumber(ARGV[8]), ARGV[11]
    redis.call('HSET', KEYS[1], 'last', ARGV[8], 'line', line)
  end
  if line ~= ARGV[11] or last < tonumber(ARGV[9]) then return {'epoch'} end -- Note [One epoch, one line] in front_door.py
  arrival = redis.call('HINCRBY', KEYS[1], 'last', 1)
  if ARGV[7] ~= '' then redis.call('DECRBY', KEYS[4], ARGV[3]) end
end

for i = 6, #KEYS do
  if not redis.call('SET', KEYS[i], id, 'NX', 'PX', ARGV[2]) then redis.call('PEXPIRE', KEYS[i], ARGV[2]) end
end
redis.call('ZADD', KEYS[2], now + tonumber(ARGV[2]), id .. ':' .. ARGV[3])
redis.call('PEXPIRE', KEYS[2], 86400000)
local place = string.format('%.0f', arrival)
redis.call('SET', KEYS[5], place .. ' ' .. ARGV[10], 'EX', 600)
if keyed then
  redis.call('HSET', KEYS[3], 'id', id, 'fingerprint', ARGV[5], 'arrival', place, 'lease', now + tonumber(ARGV[6]))
  redis.call('EXPIRE', KEYS[3], 86400)
end
return {'admitted', id, place}
