-- Bring claims to what was committed, own values only.
-- KEYS  the claims of all of them, each reservation's followed by the key of what its buyer holds
-- ARGV  1 JSON: for each reservation [id, how many claims, member, value, ms]; ms 0: it owns nothing any more
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
end
