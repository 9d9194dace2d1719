-- ARGV: lease in milliseconds, tries that are allowed. Returns the state of the queue at one moment.
local time = now()
reap(time, tonumber(ARGV[1]), tonumber(ARGV[2]))

local running = {}
local leased = redis.call('ZRANGE', leases, 0, -1, 'WITHSCORES')
for index = 1, #leased, 2 do
  local entry = leased[index]
  table.insert(running, {entry, leased[index + 1], redis.call('HGET', claims, entry) or '{}', tried(entry)})
end
return {
  string.format('%d', time),
  redis.call('LLEN', list),
  running,
  redis.call('HLEN', dead),
  redis.call('HSCAN', dead, 0, 'COUNT', 100)[2],
  redis.call('HMGET', totals, 'jobs', 'rows', 'texts'),
  redis.call('LRANGE', recent, 0, -1),
}
