-- ARGV: lease in milliseconds, tries that are allowed, token, worker. Returns the entry and its tries, or nothing.
local lease, allowed, token, worker = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]
local time = now()

local mine = redis.call('HGET', tokens, token)
if mine then -- The answer to this very claim was lost on its way.
  redis.call('ZADD', leases, time + lease, mine)
  return {mine, tried(mine)}
end

reap(time, lease, allowed)
local entry = redis.call('RPOP', list)
-- An older manager may push what runs already.
while entry and redis.call('ZSCORE', leases, entry) do
  entry = redis.call('RPOP', list)
end
if not entry then return false end
-- Pushed although it was dead: somebody wants it tried again.
redis.call('HDEL', dead, entry)
redis.call('ZADD', leases, time + lease, entry)
redis.call('HSET', claims, entry, cjson.encode({token = token, worker = worker, since = time, allowed = allowed}))
redis.call('HSET', tokens, token, entry)
return {entry, redis.call('HINCRBY', tries, entry, 1)}
