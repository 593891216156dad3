-- Admit one request with all it asks for, or say why not and change nothing.
-- KEYS  1 arrivals of the session: the last one given, and the queue that its epoch belongs to
--       2 the idempotency record
--       3 the request as asked
--       4 the buyer's requests, newest last
--       5 who the buyer is: the account that a guest became, or the guests who became the account
--       6… what the buyer has, a key for each limit (of the session, of the ticket type)
--       then two for each cap (of the buyer, of the address): the places held unpaid; and their number, with the
--       history of lapsed holds
--       then three for each level that the request draws on (its ticket type, that type's pools): the level as
--       PostgreSQL last told it, since when, and the places in the queue for it; the requests in the queue for it; the
--       holders of its places, and until when
--       then one claim a seat, sorted
-- ARGV  1 reservation id   2 claim ms   3 places   4 fingerprint   5 lease ms ('' = no key)
--       6 first arrival of a new epoch ('' = none)   7 lowest arrival allowed   8 the request, JSON
--       9 the queue that it will join   10 how many limits   11 how many levels   12 how many caps
--       13… places a buyer may have by each limit   then places that may be held by each cap
--       then for each level the places left as admission last read them, and the version of that
--       last: requests admitted a second ('' = all): see Note [At a rate] in pace.py
-- Note [Stock in the queue]
-- The places left for the next request are those that PostgreSQL has left, by the newest version told, less those that
-- requests in the queue ask for, plus those of holders whose time is over. An allocated request leaves the queue in the
-- same step in which the new number comes (upkeep.lua). Admission's own read counts only where nothing is known, or
-- where no newer version was told for five seconds: a number that is ahead of the queue would count its requests twice.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local id, places = ARGV[1], tonumber(ARGV[3])
local limits, levels, caps = tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12])
local first_cap = 6 + limits
local first_level = first_cap + 2 * caps
local first_read = 13 + limits + caps
local first_claim = first_level + 3 * levels
local keyed = ARGV[5] ~= ''
local member = id .. ':' .. ARGV[3]
local arrival = nil

local function places_of(asked) return tonumber(string.match(asked, ':(%d+)$')) end

local function known_by(record)
  return redis.call('HMGET', record, 'id', 'fingerprint', 'answered', 'arrival', 'lease', 'status', 'body')
end

-- Note [A guest's keys]: they stay under the guest's name, and the account finds them there.
local person = redis.call('HGETALL', KEYS[5])
if person[1] == 'account' then return {'joined', person[2], redis.call('TTL', KEYS[5])} end

if keyed then
  local known = known_by(KEYS[2])
  local prefix = string.sub(KEYS[5], 1, -(#'person:' + 36) - 1) .. 'idem:'
  for i = 1, #person, 2 do
    if known[1] then break end
    known = known_by(prefix .. person[i] .. string.sub(KEYS[2], #prefix + 36 + 1))
  end
  if known[1] then
    if known[2] ~= ARGV[4] then return {'mismatch'} end
    if known[3] then return {'replay', known[1], known[4], known[6] or '', known[7] or ''} end
    if tonumber(known[5]) > now then return {'in_flight', tonumber(known[5]) - now} end
    id, arrival = known[1], tonumber(known[4])
    member = id .. ':' .. ARGV[3]
  end
end

for i = 1, limits do
  local mine, has = KEYS[5 + i], 0
  redis.call('ZREMRANGEBYSCORE', mine, '-inf', now)
  for _, held in ipairs(redis.call('ZRANGE', mine, 0, -1)) do
    if string.match(held, '^(.-):%d+$') ~= id then has = has + places_of(held) end
  end
  if has + places > tonumber(ARGV[12 + i]) then return {'limit', i} end
end

for i = 1, caps do -- Note [What counts as held] in hold_caps.py
  local held, tally = KEYS[first_cap + 2 * i - 2], KEYS[first_cap + 2 * i - 1]
  local has, wait_until = unpack(redis.call('HMGET', tally, 'places', 'until'))
  local wait = tonumber(wait_until or '0') - now
  if wait > 0 then return {'wait', wait} end
  for _, over in ipairs(redis.call('ZRANGEBYSCORE', held, '-inf', now)) do
    redis.call('ZREM', held, over)
    has = redis.call('HINCRBY', tally, 'places', -places_of(over))
  end
  local mine = redis.call('ZSCORE', held, member) and places or 0
  local lacking = tonumber(has or '0') - mine + places - tonumber(ARGV[12 + limits + i])
  if lacking > 0 then
    local oldest = redis.call('ZRANGE', held, 0, lacking - 1, 'WITHSCORES')
    for j = 1, #oldest, 2 do
      lacking = lacking - places_of(oldest[j])
      if lacking <= 0 then wait = tonumber(oldest[j + 1]) - now break end
    end
    return {'wait', math.max(wait, 1)}
  end
end

local lost = {}
for i = first_claim, #KEYS do
  local owner = redis.call('GET', KEYS[i])
  if owner and owner ~= id then
    table.insert(lost, i - first_claim + 1)
    table.insert(lost, string.sub(owner, 1, 2) == 's:' and 'sold' or 'held')
  end
end
if #lost > 0 then return {'taken', unpack(lost)} end

for i = 0, levels - 1 do
  local stock, queued, holders = KEYS[first_level + 3 * i], KEYS[first_level + 3 * i + 1], KEYS[first_level + 3 * i + 2]
  local read, read_version = ARGV[first_read + 2 * i], ARGV[first_read + 1 + 2 * i]
  local version, since, waiting = unpack(redis.call('HMGET', stock, 'version', 'since', 'waiting'))
  if not waiting then
    waiting = 0
    for _, asked in ipairs(redis.call('ZRANGE', queued, 0, -1)) do waiting = waiting + places_of(asked) end
    redis.call('HSET', stock, 'waiting', waiting)
  end
  if not version or (tonumber(read_version) > tonumber(version) and now - tonumber(since) > 5000) then
    redis.call('HSET', stock, 'version', read_version, 'available', read, 'since', now)
  end
  for _, over in ipairs(redis.call('ZRANGEBYSCORE', queued, '-inf', now)) do
    redis.call('ZREM', queued, over)
    redis.call('HINCRBY', stock, 'waiting', -places_of(over))
  end
  local left = redis.call('HMGET', stock, 'available', 'waiting')
  local lacking = left[2] + places - left[1]
  if not arrival and lacking > 0 then
    for _, over in ipairs(redis.call('ZRANGEBYSCORE', holders, '-inf', now, 'LIMIT', 0, lacking)) do
      lacking = lacking - places_of(over)
    end
    if lacking > 0 then return {'lacking'} end
  end
end

if not arrival then
  local numbers = redis.call('HMGET', KEYS[1], 'last', 'line')
  local last, queue = tonumber(numbers[1] or '0'), numbers[2]
  if ARGV[6] ~= '' and last < tonumber(ARGV[6]) then
    last, queue = tonumber(ARGV[6]), ARGV[9]
    redis.call('HSET', KEYS[1], 'last', ARGV[6], 'line', queue)
  end
  if queue ~= ARGV[9] or last < tonumber(ARGV[7]) then return {'epoch'} end -- Note [One epoch, one queue] in front_door.py
  local rate = ARGV[#ARGV]
  if rate ~= '' then
    local micros = clock[1] * 1000000 + clock[2]
    local full_at = math.max(tonumber(redis.call('HGET', KEYS[1], 'full_at') or '0'), micros) + math.ceil(1000000 / rate)
    local early = full_at - micros - 1000000
    if early > 0 then return {'crowded', math.ceil(early / 1000)} end
    redis.call('HSET', KEYS[1], 'full_at', string.format('%.0f', full_at))
  end
  arrival = redis.call('HINCRBY', KEYS[1], 'last', 1)
end

for i = first_claim, #KEYS do
  if not redis.call('SET', KEYS[i], id, 'NX', 'PX', ARGV[2]) then redis.call('PEXPIRE', KEYS[i], ARGV[2]) end
end
for i = 6, first_cap - 1 do
  redis.call('ZADD', KEYS[i], now + tonumber(ARGV[2]), member)
  redis.call('PEXPIRE', KEYS[i], 86400000)
end
for i = first_cap, first_level - 1, 2 do
  if redis.call('ZADD', KEYS[i], now + tonumber(ARGV[2]), member) == 1 then redis.call('HINCRBY', KEYS[i + 1], 'places', places) end
  redis.call('PEXPIRE', KEYS[i], 86400000)
  redis.call('PEXPIRE', KEYS[i + 1], 86400000)
end
for i = first_level, first_claim - 1, 3 do
  if redis.call('ZADD', KEYS[i + 1], now + tonumber(ARGV[2]), member) == 1 then redis.call('HINCRBY', KEYS[i], 'waiting', places) end
  redis.call('PEXPIRE', KEYS[i], 86400000)
  redis.call('PEXPIRE', KEYS[i + 1], 86400000)
end
local place = string.format('%.0f', arrival)
redis.call('SET', KEYS[3], place .. ' ' .. ARGV[8], 'EX', 600)
redis.call('ZADD', KEYS[4], now, id)
redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -51)
redis.call('EXPIRE', KEYS[4], 600)
if keyed then
  redis.call('HSET', KEYS[2], 'id', id, 'fingerprint', ARGV[4], 'arrival', place, 'lease', now + tonumber(ARGV[5]))
  redis.call('EXPIRE', KEYS[2], 86400)
end
return {'admitted', id, place}
