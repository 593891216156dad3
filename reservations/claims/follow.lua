-- Give an account what counts as held for its guest, and the history of lapsed holds; the guest keeps the history too.
-- KEYS  FollowKeys of arguments.py: see Note [What counts as held] in hold_caps.py
local guest_held, guest_tally, account_held, account_tally = unpack(KEYS)
local held = redis.call('ZRANGE', guest_held, 0, -1, 'WITHSCORES')
for i = 1, #held, 2 do
  if redis.call('ZADD', account_held, held[i + 1], held[i]) == 1 then
    redis.call('HINCRBY', account_tally, 'places', tonumber(string.match(held[i], ':(%d+)$')))
  end
end
redis.call('DEL', guest_held)
redis.call('HDEL', guest_tally, 'places')
for _, name in ipairs({'lapses', 'lapsed_at', 'until'}) do
  local theirs = redis.call('HGET', guest_tally, name)
  if theirs and tonumber(theirs) > tonumber(redis.call('HGET', account_tally, name) or '0') then redis.call('HSET', account_tally, name, theirs) end
end
redis.call('PEXPIRE', account_held, 86400000)
redis.call('PEXPIRE', account_tally, 86400000)
