-- Bring claims to what was committed, own values only.
-- KEYS  of each reservation its claims, then what its buyer has, a key for each limit, and if it stood in line for unnumbered places
--       three for each counter it draws on: the counter, the line for it, its holders; in the end the counters that changed
-- ARGV  1 JSON: for each reservation [id, how many claims, member, value, ms, how many limits, how many counters]; ms 0: it owns nothing
--       any more   2 JSON: for each counter that changed [version, places left]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local at = 0
for _, r in ipairs(cjson.decode(ARGV[1])) do
  local id, claims, member, value, ms, limits, counters = unpack(r)
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
  for i = at + 1, at + 3 * counters, 3 do -- it is settled: what is left is without what it took
    local stock, line, holders = KEYS[i], KEYS[i + 1], KEYS[i + 2]
    if redis.call('ZREM', line, member) == 1 then
      redis.call('HINCRBY', stock, 'waiting', -tonumber(string.match(member, ':(%d+)$')))
    end
    if ms > 0 and value == id then
      redis.call('ZADD', holders, now + ms, member)
      redis.call('PEXPIRE', holders, 86400000)
    else
      redis.call('ZREM', holders, member)
    end
  end
  at = at + 3 * counters
end
for i, left in ipairs(cjson.decode(ARGV[2])) do
  local stock = KEYS[at + i]
  if left[1] > tonumber(redis.call('HGET', stock, 'version') or '-1') then
    redis.call('HSET', stock, 'version', left[1], 'available', left[2], 'since', now)
    redis.call('PEXPIRE', stock, 86400000)
  end
end
