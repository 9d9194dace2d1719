-- Lets some of the dead wait again. Returns how many, and how many there were.
local there = redis.call('HLEN', dead)
local page = redis.call('HSCAN', dead, 0, 'COUNT', 1000)[2]
for index = 1, #page, 2 do
  redis.call('HDEL', dead, page[index])
  wait(page[index])
end
return {#page / 2, there}
