-- ARGV: token, entry, lease in milliseconds. Returns whether the lease is still this token's.
if redis.call('HGET', tokens, ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('ZADD', leases, now() + ARGV[3], ARGV[2])
return 1
