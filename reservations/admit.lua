-- Admit one request, or say why not; all of it or nothing.
-- KEYS  1 arrivals of the session: the last one given, and the line its epoch belongs to   2 what the buyer holds in it   3 the idempotency record
--       4 the stock of the ticket type: as PostgreSQL last told, since when, and the places in line for it   5 who is in line for it
--       6 who holds some of it, and until when   7 the request as asked   8 what its buyer asked for, newest last   9… one claim a seat, sorted
-- ARGV  1 reservation id   2 claim ms   3 places   4 places a buyer may have   5 fingerprint   6 lease ms ('' = no key)
--       7 stock as the door last read it ('' = no stock)   8 its version   9 first arrival of a new epoch ('' = none)   10 lowest arrival allowed
--       11 the request, JSON   12 the line it is to stand in
-- Note [Stock in line]
-- What is left for the next one is what PostgreSQL has left, by the newest version told, less what those in line ask for, and more
-- what holders have whose time is over. Whoever is settled leaves the line in the same step as the new number comes (upkeep.lua). What
-- the door reads itself counts only where nothing is known, or where nothing newer was told for five seconds: a number that is ahead of
-- those in line would count them twice.
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
for i = 9, #KEYS do
  local owner = redis.call('GET', KEYS[i])
  if owner and owner ~= id then
    table.insert(lost, i - 8)
    table.insert(lost, string.sub(owner, 1, 2) == 's:' and 'sold' or 'held')
  end
end
if #lost > 0 then return {'taken', unpack(lost)} end

local asks_stock, member = ARGV[7] ~= '', id .. ':' .. ARGV[3]
if asks_stock then
  local version, since, waiting = unpack(redis.call('HMGET', KEYS[4], 'version', 'since', 'waiting'))
  if not waiting then
    waiting = 0
    for _, asked in ipairs(redis.call('ZRANGE', KEYS[5], 0, -1)) do waiting = waiting + tonumber(string.match(asked, ':(%d+)$')) end
    redis.call('HSET', KEYS[4], 'waiting', waiting)
  end
  if not version or (tonumber(ARGV[8]) > tonumber(version) and now - tonumber(since) > 5000) then
    redis.call('HSET', KEYS[4], 'version', ARGV[8], 'available', ARGV[7], 'since', now)
  end
  for _, over in ipairs(redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', now)) do
    redis.call('ZREM', KEYS[5], over)
    redis.call('HINCRBY', KEYS[4], 'waiting', -tonumber(string.match(over, ':(%d+)$')))
  end
  local stock = redis.call('HMGET', KEYS[4], 'available', 'waiting')
  local lacking = stock[2] + ARGV[3] - stock[1]
  if not arrival and lacking > 0 then
    for _, over in ipairs(redis.call('ZRANGEBYSCORE', KEYS[6], '-inf', now, 'LIMIT', 0, lacking)) do
      lacking = lacking - tonumber(string.match(over, ':(%d+)$'))
    end
    if lacking > 0 then return {'sold_out'} end
  end
end

if not arrival then
  local counter = redis.call('HMGET', KEYS[1], 'last', 'line')
  local last, line = tonumber(counter[1] or '0'), counter[2]
  if ARGV[9] ~= '' and last < tonumber(ARGV[9]) then
    last, line = tonumber(ARGV[9]), ARGV[12]
    redis.call('HSET', KEYS[1], 'last', ARGV[9], 'line', line)
  end
  if line ~= ARGV[12] or last < tonumber(ARGV[10]) then return {'epoch'} end -- Note [One epoch, one line] in front_door.py
  arrival = redis.call('HINCRBY', KEYS[1], 'last', 1)
end

for i = 9, #KEYS do
  if not redis.call('SET', KEYS[i], id, 'NX', 'PX', ARGV[2]) then redis.call('PEXPIRE', KEYS[i], ARGV[2]) end
end
redis.call('ZADD', KEYS[2], now + tonumber(ARGV[2]), member)
redis.call('PEXPIRE', KEYS[2], 86400000)
if asks_stock then
  if redis.call('ZADD', KEYS[5], now + tonumber(ARGV[2]), member) == 1 then redis.call('HINCRBY', KEYS[4], 'waiting', ARGV[3]) end
  redis.call('PEXPIRE', KEYS[4], 86400000)
  redis.call('PEXPIRE', KEYS[5], 86400000)
end
local place = string.format('%.0f', arrival)
redis.call('SET', KEYS[7], place .. ' ' .. ARGV[11], 'EX', 600)
redis.call('ZADD', KEYS[8], now, id)
redis.call('ZREMRANGEBYRANK', KEYS[8], 0, -51)
redis.call('EXPIRE', KEYS[8], 600)
if keyed then
  redis.call('HSET', KEYS[3], 'id', id, 'fingerprint', ARGV[5], 'arrival', place, 'lease', now + tonumber(ARGV[6]))
  redis.call('EXPIRE', KEYS[3], 86400)
end
return {'admitted', id, place}
