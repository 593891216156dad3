-- Bring claims to what was committed, own values only.
-- KEYS  the claims of all of them, each reservation's followed by the key of what its buyer holds and, if it stood in line for
--       unnumbered places, by the stock, the line for it and its holders; then the stocks that changed
-- ARGV  1 JSON: for each reservation [id, how many claims, member, value, ms, in line]; ms 0: it owns nothing any more
--       2 JSON: for each stock that changed [version, places left]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local at = 0
for _, r in ipairs(cjson.decode(ARGV[1])) do
  local id, claims, member, value, ms = r[1], r[2], r[3], r[4], r[5]
  for i = at + 1, at + claims do
    local owner = redis.call('GET', KEYS[i])
    if ms > 0 then
      if not owner or owner == id or owner == value then redis.call('SET', KEYS[i], value, 'PX', ms) end
    elseif owner == id or owner == 's:' .. id then
      redis.call('DEL', KEYS[i])
    end
  end
  local mine = KEYS[at + claims + 1]
  if ms > 0 then
    redis.call('ZADD', mine, now + ms, member)
    redis.call('PEXPIRE', mine, 86400000)
  else
    redis.call('ZREM', mine, member)
  end
  at = at + claims + 1
  if r[6] then -- it is settled: what is left of the stock is without what it took
    local stock, line, holders = KEYS[at + 1], KEYS[at + 2], KEYS[at + 3]
    if redis.call('ZREM', line, member) == 1 then
      redis.call('HINCRBY', stock, 'waiting', -tonumber(string.match(member, ':(%d+)$')))
    end
    if ms > 0 and value == id then
      redis.call('ZADD', holders, now + ms, member)
      redis.call('PEXPIRE', holders, 86400000)
    else
      redis.call('ZREM', holders, member)
    end
    at = at + 3
  end
end
for i, left in ipairs(cjson.decode(ARGV[2])) do
  local stock = KEYS[at + i]
  if left[1] > tonumber(redis.call('HGET', stock, 'version') or '-1') then
    redis.call('HSET', stock, 'version', left[1], 'available', left[2], 'since', now)
    redis.call('PEXPIRE', stock, 86400000)
  end
end
