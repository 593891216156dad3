-- Give an account what counts as held for its guest, and the history of lapsed holds; the guest keeps the history too.
-- KEYS  1 the guest's held   2 its tally   3 the user's held   4 its tally
-- See Note [What counts as held] in hold_caps.py.
local held = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 1, #held, 2 do
  if redis.call('ZADD', KEYS[3], held[i + 1], held[i]) == 1 then
    redis.call('HINCRBY', KEYS[4], 'places', tonumber(string.match(held[i], ':(%d+)$')))
  end
end
redis.call('DEL', KEYS[1])
redis.call('HDEL', KEYS[2], 'places')
for _, name in ipairs({'lapses', 'lapsed_at', 'until'}) do
  local theirs = redis.call('HGET', KEYS[2], name)
  if theirs and tonumber(theirs) > tonumber(redis.call('HGET', KEYS[4], name) or '0') then redis.call('HSET', KEYS[4], name, theirs) end
end
redis.call('PEXPIRE', KEYS[3], 86400000)
redis.call('PEXPIRE', KEYS[4], 86400000)
