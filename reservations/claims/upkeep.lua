-- Bring claims to what was committed; change only keys with the reservation's own value.
-- KEYS  for each reservation: its claims; then what its buyer has, a key for each limit; then for each cap (of the
--       buyer, of the address) the places held unpaid and their tally; and if it was in the queue for unnumbered places, three
--       for each level that it draws on: the level, the queue for it, its holders
--       in the end the levels that changed
-- ARGV  JSON, with Owned and Left of arguments.py and WaitingRules of hold_caps.py
--       ms 0: it owns nothing any more   counts: ms that it counts as held for its buyer, for its address
--       in_vain: ms that it was held in vain (0: it wasn't; -1: it was paid for)
local reservations, changed, rules = unpack(ARGV)
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local free, first_wait, longest_wait, longest_count, a_step, most_steps, forget_after = unpack(cjson.decode(rules))
local at = 0
for _, r in ipairs(cjson.decode(reservations)) do
  local id, claims, member, value, ms, limits, levels, caps, counts, in_vain = unpack(r)
  for i = at + 1, at + claims do
    local owner = redis.call('GET', KEYS[i])
    if ms > 0 then
      if not owner or owner == id or owner == value then redis.call('SET', KEYS[i], value, 'PX', ms) end
    elseif owner == id or owner == 's:' .. id then
      redis.call('DEL', KEYS[i])
    end
  end
  at = at + claims
  for i = at + 1, at + limits do
    if ms > 0 then
      redis.call('ZADD', KEYS[i], now + ms, member)
      redis.call('PEXPIRE', KEYS[i], 86400000)
    else
      redis.call('ZREM', KEYS[i], member)
    end
  end
  at = at + limits
  local places = tonumber(string.match(member, ':(%d+)$'))
  for i = 1, caps do
    local held, tally, still = KEYS[at + 2 * i - 1], KEYS[at + 2 * i], counts[i]
    if in_vain > 0 then
      if now - tonumber(redis.call('HGET', tally, 'lapsed_at') or '0') > forget_after then redis.call('HDEL', tally, 'lapses') end
      local lapses = redis.call('HINCRBY', tally, 'lapses', i == 1 and 1 or places)
      redis.call('HSET', tally, 'lapsed_at', now)
      if i == 2 then
        still = math.min(in_vain, longest_count) * math.min(1 + math.floor(lapses / a_step), most_steps)
      elseif lapses > free then
        redis.call('HSET', tally, 'until', now + math.min(first_wait * 2 ^ math.min(lapses - free - 1, 20), longest_wait))
      end
    elseif in_vain < 0 then
      redis.call('HDEL', tally, 'lapses', 'until')
    end
    if still > 0 then
      if redis.call('ZADD', held, string.format('%.0f', now + still), member) == 1 then redis.call('HINCRBY', tally, 'places', places) end
      redis.call('PEXPIRE', held, 86400000)
    elseif redis.call('ZREM', held, member) == 1 then
      redis.call('HINCRBY', tally, 'places', -places)
    end
    redis.call('PEXPIRE', tally, 86400000)
  end
  at = at + 2 * caps
  for i = at + 1, at + 3 * levels, 3 do -- it is allocated: the places left no longer include its own
    local stock, queued, holders = KEYS[i], KEYS[i + 1], KEYS[i + 2]
    if redis.call('ZREM', queued, member) == 1 then
      redis.call('HINCRBY', stock, 'waiting', -places)
    end
    if ms > 0 and value == id then
      redis.call('ZADD', holders, now + ms, member)
      redis.call('PEXPIRE', holders, 86400000)
    else
      redis.call('ZREM', holders, member)
    end
  end
  at = at + 3 * levels
end
for i, left in ipairs(cjson.decode(changed)) do
  local version, available = unpack(left)
  local stock = KEYS[at + i]
  if version > tonumber(redis.call('HGET', stock, 'version') or '-1') then
    redis.call('HSET', stock, 'version', version, 'available', available, 'since', now)
    redis.call('PEXPIRE', stock, 86400000)
  end
end
