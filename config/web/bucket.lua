-- Take from a token bucket, which is stored as the time at which it will be full again (GCRA). KEYS[1]; ARGV:
-- microseconds until a token comes back, tokens it holds. Answers 0 if a token was taken, otherwise the microseconds
-- until there is one.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval = tonumber(ARGV[1])
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now) + interval
local wait = full_at - now - interval * tonumber(ARGV[2])
if wait > 0 then
  return math.ceil(wait)
end
redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', math.ceil((full_at - now) / 1000))
return 0
