-- ARGV: version of the list that the manager knows, token, entries. Returns the version, and how many were queued; or
-- -1 and what came to the head of the list since; or -2 where that is too much to tell.
local known, token = tonumber(ARGV[1]), ARGV[2]
local version = tonumber(redis.call('HGET', pushed, 'version') or '0')

if redis.call('HGET', pushed, 'token') == token then -- The answer to this very call was lost on its way.
  return {version, tonumber(redis.call('HGET', pushed, 'queued')), {}}
end
if version < known or version > known + 10000 then return {version, -2, {}} end
if version > known then return {version, -1, redis.call('LRANGE', list, 0, version - known - 1)} end

-- What ran since the manager looked, and was given back, it does not know to wait.
local function waits(entry)
  return redis.call('HEXISTS', tries, entry) == 1 and redis.call('LPOS', list, entry)
end

local queued = 0
for index = 3, #ARGV do
  local entry = ARGV[index]
  if not redis.call('ZSCORE', leases, entry) and redis.call('HEXISTS', dead, entry) == 0 and not waits(entry) then
    redis.call('HDEL', tries, entry)
    redis.call('LPUSH', list, entry)
    queued = queued + 1
  end
end
redis.call('HSET', pushed, 'version', version + queued, 'token', token, 'queued', queued)
return {version + queued, queued, {}}
