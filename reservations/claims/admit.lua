-- Admit one request with all it asks for, or say why not and change nothing.
-- The code of base/rates/token_bucket.lua stands before this one.
-- KEYS  AdmitKeys of arguments.py:
local arrivals, idempotency, stored, recent, person_key = unpack(KEYS, 1, 5)
--       arrivals: the last one given in the session, and the queue that its epoch belongs to
--       idempotency: the record of the request's key     stored: the request as asked
--       recent: the buyer's requests, newest last
--       person_key: the account that a guest became, or the guests who became the account
--       then what the buyer has, a key for each limit (of the session, of the ticket type)
--       then two for each cap (of the buyer, of the address): the places held unpaid; and their number, with the
--       history of lapsed holds
--       then three for each level that the request draws on (its ticket type, that type's pools): the level as
--       PostgreSQL last told it, since when, and the places in the queue for it; the requests in the queue for it; the
--       holders of its places, and until when
--       then one claim a seat, sorted
-- ARGV  AdmitArguments of arguments.py:
local id, claim_ms, places, fingerprint, lease_ms, epoch, floor, request, queue, rate, limits, caps,
      levels = unpack(ARGV, 1, 13)
--       lease_ms: '' = no key     epoch: first arrival of a new one, '' = none     floor: lowest arrival allowed
--       request: JSON     queue: the one that it will join
--       rate: requests admitted a second, '' = all: see Note [At a rate] in pace.py
--       limits, caps, levels: how many
--       then places that a buyer may have by each limit, and places that may be held by each cap
--       then for each level the places left as admission last read them, and the version of that
-- Note [Stock in the queue]
-- The places left for the next request are those that PostgreSQL has left, by the newest version told, less those that
-- requests in the queue ask for, plus those of holders whose time is over. An allocated request leaves the queue in the
-- same step in which the new number comes (upkeep.lua). Admission's own read counts only where nothing is known, or
-- where no newer version was told for five seconds: a number that is ahead of the queue would count its requests twice.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local keyed = lease_ms ~= ''
local member = id .. ':' .. places
places, claim_ms, floor, epoch = tonumber(places), tonumber(claim_ms), tonumber(floor), tonumber(epoch)
limits, caps, levels = tonumber(limits), tonumber(caps), tonumber(levels)
local first_limit, first_most = 6, 14
local first_cap = first_limit + limits
local first_level = first_cap + 2 * caps
local first_claim = first_level + 3 * levels
local first_cap_most = first_most + limits
local first_read = first_cap_most + caps
local arrival = nil

local function places_of(asked) return tonumber(string.match(asked, ':(%d+)$')) end

local function known_by(record)
  return redis.call('HMGET', record, 'id', 'fingerprint', 'answered', 'arrival', 'lease', 'status', 'body')
end

-- Note [A guest's keys]: they stay under the guest's name, and the account finds them there.
local person = redis.call('HGETALL', person_key)
if person[1] == 'account' then return {'joined', person[2], redis.call('TTL', person_key)} end

if keyed then
  local known = known_by(idempotency)
  local prefix = string.sub(person_key, 1, -(#'person:' + 36) - 1) .. 'idem:'
  for i = 1, #person, 2 do
    if known[1] then break end
    known = known_by(prefix .. person[i] .. string.sub(idempotency, #prefix + 36 + 1))
  end
  if known[1] then
    if known[2] ~= fingerprint then return {'mismatch'} end
    if known[3] then return {'replay', known[1], known[4], known[6] or '', known[7] or ''} end
    if tonumber(known[5]) > now then return {'in_flight', tonumber(known[5]) - now} end
    id, arrival = known[1], tonumber(known[4])
    member = id .. ':' .. places
  end
end

for i = 0, limits - 1 do
  local mine, has = KEYS[first_limit + i], 0
  redis.call('ZREMRANGEBYSCORE', mine, '-inf', now)
  for _, held in ipairs(redis.call('ZRANGE', mine, 0, -1)) do
    if string.match(held, '^(.-):%d+$') ~= id then has = has + places_of(held) end
  end
  if has + places > tonumber(ARGV[first_most + i]) then return {'limit', i + 1} end
end

for i = 0, caps - 1 do -- Note [What counts as held] in hold_caps.py
  local held, tally = KEYS[first_cap + 2 * i], KEYS[first_cap + 2 * i + 1]
  local has, wait_until = unpack(redis.call('HMGET', tally, 'places', 'until'))
  local wait = tonumber(wait_until or '0') - now
  if wait > 0 then return {'wait', wait} end
  for _, over in ipairs(redis.call('ZRANGEBYSCORE', held, '-inf', now)) do
    redis.call('ZREM', held, over)
    has = redis.call('HINCRBY', tally, 'places', -places_of(over))
  end
  local mine = redis.call('ZSCORE', held, member) and places or 0
  local lacking = tonumber(has or '0') - mine + places - tonumber(ARGV[first_cap_most + i])
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
  local numbers = redis.call('HMGET', arrivals, 'last', 'line')
  local last, its_queue = tonumber(numbers[1] or '0'), numbers[2]
  if epoch and last < epoch then
    last, its_queue = epoch, queue
    redis.call('HSET', arrivals, 'last', string.format('%.0f', epoch), 'line', queue)
  end
  if its_queue ~= queue or last < floor then return {'epoch'} end -- Note [One epoch, one queue] in front_door.py
  if rate ~= '' then
    local micros = clock[1] * 1000000 + clock[2]
    local full_at, early = take_tokens(redis.call('HGET', arrivals, 'full_at'), micros, math.ceil(1000000 / rate), 1000000)
    if early > 0 then return {'crowded', math.ceil(early / 1000)} end
    redis.call('HSET', arrivals, 'full_at', string.format('%.0f', full_at))
  end
  arrival = redis.call('HINCRBY', arrivals, 'last', 1)
end

for i = first_claim, #KEYS do
  if not redis.call('SET', KEYS[i], id, 'NX', 'PX', claim_ms) then redis.call('PEXPIRE', KEYS[i], claim_ms) end
end
for i = first_limit, first_cap - 1 do
  redis.call('ZADD', KEYS[i], now + claim_ms, member)
  redis.call('PEXPIRE', KEYS[i], 86400000)
end
for i = first_cap, first_level - 1, 2 do
  if redis.call('ZADD', KEYS[i], now + claim_ms, member) == 1 then redis.call('HINCRBY', KEYS[i + 1], 'places', places) end
  redis.call('PEXPIRE', KEYS[i], 86400000)
  redis.call('PEXPIRE', KEYS[i + 1], 86400000)
end
for i = first_level, first_claim - 1, 3 do
  if redis.call('ZADD', KEYS[i + 1], now + claim_ms, member) == 1 then redis.call('HINCRBY', KEYS[i], 'waiting', places) end
  redis.call('PEXPIRE', KEYS[i], 86400000)
  redis.call('PEXPIRE', KEYS[i + 1], 86400000)
end
local place = string.format('%.0f', arrival)
redis.call('SET', stored, place .. ' ' .. request, 'EX', 600)
redis.call('ZADD', recent, now, id)
redis.call('ZREMRANGEBYRANK', recent, 0, -51)
redis.call('EXPIRE', recent, 600)
if keyed then
  redis.call('HSET', idempotency, 'id', id, 'fingerprint', fingerprint, 'arrival', place, 'lease', now + tonumber(lease_ms))
  redis.call('EXPIRE', idempotency, 86400)
end
return {'admitted', id, place}
