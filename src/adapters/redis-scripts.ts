/**
 * Counts exactly as CONSUME of `limits/postgres-counters` does, with the same names. A key holds
 * `spent`, and `since` in ms. Returns for each key what is spent, what was granted, and the seconds
 * until the next refill. ARGV: now in ms, then count, quota, refill and period in s of each key.
 */
export const CONSUME = `
  local now = tonumber(ARGV[1])
  local answers = {}
  for i, key in ipairs(KEYS) do
    local count, quota, refill, period = unpack(ARGV, 4 * i - 2, 4 * i + 1)
    count, quota, refill, period = tonumber(count), tonumber(quota), tonumber(refill), tonumber(period) * 1000
    local had = redis.call('HMGET', key, 'spent', 'since')
    local spent, since = tonumber(had[1] or 0), tonumber(had[2] or now)
    local periods = math.max(0, math.floor((now - since) / period))
    local still = since > now + period and 0 or math.max(0, spent - periods * refill)
    local got = math.max(0, math.min(count, quota - still))
    local start = still == 0 and now or since + periods * period
    local left = start + math.ceil((still + got) / refill) * period - now
    redis.call('HSET', key, 'spent', still + got, 'since', string.format('%.0f', start))
    redis.call('PEXPIRE', key, string.format('%.0f', math.max(1, left)))
    answers[i] = { still + got, got, math.max(1, math.ceil((start - now + period) / 1000)) }
  end
  return answers`;

/** ARGV: the count to refund to each key. Deletes a key that is then zero. */
export const REFUND = `
  for i, key in ipairs(KEYS) do
    local left = tonumber(redis.call('HGET', key, 'spent') or 0) - tonumber(ARGV[i])
    if left > 0 then redis.call('HSET', key, 'spent', left) else redis.call('DEL', key) end
  end`;
