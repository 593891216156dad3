-- Take tokens, as base/rates/token_bucket.py does: return when the bucket would be full again, and the time to wait
-- (0: it has enough).
local function take_tokens(full_at, now, cost, capacity)
  local after = math.max(tonumber(full_at or 0), now) + cost
  return after, math.max(0, after - now - capacity)
end
