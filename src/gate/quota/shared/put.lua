-- Writes an entry of a ledger unless a later one is there.
-- KEYS: meta, entries, order, ends. ARGV: name, made (ms), expires (unix s; 0: never), text, bound of
-- the entries of all kinds.
-- Answers its number; 0: there is one as late or later; -1: there are too many.
local old = redis.call('HGET', KEYS[2], ARGV[1])
if old then
  local made = tonumber(string.match(old, '^(%d+) '))
  if made and made >= tonumber(ARGV[2]) then
    return 0
  end
elseif redis.call('HLEN', KEYS[2]) >= tonumber(ARGV[5]) then
  local now = redis.call('TIME')[1]
  local ended = redis.call('ZRANGEBYSCORE', KEYS[4], 1, now, 'LIMIT', 0, 100)
  for _, name in ipairs(ended) do
    redis.call('HDEL', KEYS[2], name)
    redis.call('ZREM', KEYS[3], name)
    redis.call('ZREM', KEYS[4], name)
  end
  if #ended == 0 then
    return -1
  end
end
local number = redis.call('HINCRBY', KEYS[1], 'v', 1)
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2] .. ' ' .. ARGV[3] .. ' ' .. ARGV[4])
redis.call('ZADD', KEYS[3], number, ARGV[1])
if tonumber(ARGV[3]) > 0 then
  redis.call('ZADD', KEYS[4], ARGV[3], ARGV[1])
else
  redis.call('ZREM', KEYS[4], ARGV[1])
end
return number
