-- ARGV: where the last page of the dead ended, or 0. Lets the next page wait again. Returns where that ends, 0 after the
-- last one, and how many wait.
local page = redis.call('HSCAN', dead, ARGV[1], 'COUNT', 1000)
local entries, retried = page[2], 0
for index = 1, #entries, 2 do
  -- A scan may tell of one twice.
  if redis.call('HDEL', dead, entries[index]) == 1 then
    wait(entries[index])
    retried = retried + 1
  end
end
return {page[1], retried}
