-- Take a token from a bucket. The code of base/rates/token_bucket.lua stands before this one.
-- Answers 0 if the token was taken, otherwise the microseconds until there is one.
local bucket = KEYS[1]
local cost, capacity = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local full_at, wait = take_tokens(redis.call('GET', bucket), now, cost, capacity)
if wait > 0 then
  return math.ceil(wait)
end
redis.call('SET', bucket, string.format('%.0f', full_at), 'PX', math.ceil((full_at - now) / 1000))
return 0
