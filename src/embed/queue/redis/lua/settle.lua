-- ARGV: token, entry, what becomes of it, and of that: finish, rows, texts, seconds, jobs that count for the speed;
-- fail, reason, tries that are allowed; bury, reason; give_back. Returns whether the lease was still this token's.
local token, entry, outcome = ARGV[1], ARGV[2], ARGV[3]
local settled = KEYS[10]

if redis.call('HGET', tokens, token) ~= entry then
  -- Either it is lost, or the answer to this very call was.
  return redis.call('EXISTS', settled)
end
release(entry, token)
redis.call('SET', settled, outcome, 'EX', 3600)

if outcome == 'finish' then
  redis.call('HDEL', tries, entry)
  redis.call('HINCRBY', totals, 'jobs', 1)
  redis.call('HINCRBY', totals, 'rows', ARGV[4])
  redis.call('HINCRBY', totals, 'texts', ARGV[5])
  redis.call('LPUSH', recent, table.concat({now(), ARGV[4], ARGV[5], ARGV[6]}, ' '))
  redis.call('LTRIM', recent, 0, ARGV[7] - 1)
elseif outcome == 'fail' then
  wait_or_bury(entry, tonumber(ARGV[5]), ARGV[4])
elseif outcome == 'bury' then
  bury(entry, ARGV[4])
else
  redis.call('HINCRBY', tries, entry, -1)
  redis.call('RPUSH', list, entry)
end
return 1
