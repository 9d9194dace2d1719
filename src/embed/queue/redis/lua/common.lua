-- The beginning of every script: the keys, the time, and the ways that a job can go.
local list, leases, claims, tokens, tries, dead, totals, recent, pushed = unpack(KEYS)

-- Milliseconds, by the one clock that all workers share.
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function tried(entry)
  return tonumber(redis.call('HGET', tries, entry) or '0')
end

-- Whoever pushes must hear of every entry that came to the head of the list.
local function wait(entry)
  redis.call('LPUSH', list, entry)
  redis.call('HINCRBY', pushed, 'version', 1)
end

local function bury(entry, reason)
  redis.call('HSET', dead, entry, cjson.encode({error = reason, tries = tried(entry)}))
  redis.call('HDEL', tries, entry)
end

-- After a failure: another try, behind all others, or none where this was the last.
local function wait_or_bury(entry, allowed, reason)
  if tried(entry) < allowed then wait(entry) else bury(entry, reason) end
end

local function release(entry, token)
  redis.call('ZREM', leases, entry)
  redis.call('HDEL', claims, entry)
  redis.call('HDEL', tokens, token)
end

-- Milliseconds since the server began, at least. While it was away no lease could be renewed.
local function uptime()
  local info = redis.pcall('INFO', 'server')
  local seconds = type(info) == 'string' and info:match('uptime_in_seconds:(%d+)')
  -- The server counts ticks of its clock: one second more than have passed, where it began just before a tick.
  return seconds and (seconds - 1) * 1000 or math.huge
end

-- Takes back what dead workers held. A server that has just begun gives every lease its full time again.
local function reap(time, lease, allowed)
  local expired = redis.call('ZRANGEBYSCORE', leases, '-inf', time, 'LIMIT', 0, 100)
  if #expired == 0 or uptime() < lease then return end
  for _, entry in ipairs(expired) do
    local claim = cjson.decode(redis.call('HGET', claims, entry) or '{"worker": "a worker", "token": ""}')
    release(entry, claim.token)
    -- How often a job is tried is for its worker to say, not for whoever looks.
    wait_or_bury(entry, claim.allowed or allowed, 'the lease ran out: ' .. claim.worker .. ' stopped without a word')
  end
end
