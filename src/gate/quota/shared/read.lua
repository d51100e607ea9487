-- Entries of the ledgers after a number, in their order.
-- KEYS: entries, order. ARGV: the number, how many at most, bytes of the longest.
-- Answers: number, name, entry, and so on; an entry that is too long is empty.
local found = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local answer = {}
for i = 1, #found, 2 do
  local name = found[i]
  local long = redis.call('HSTRLEN', KEYS[1], name) > tonumber(ARGV[3])
  answer[#answer + 1] = found[i + 1]
  answer[#answer + 1] = name
  answer[#answer + 1] = (not long and redis.call('HGET', KEYS[1], name)) or ''
end
return answer
