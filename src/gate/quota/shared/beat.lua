-- Shows that a node lives, and asks whether there is news.
-- KEYS: nodes, meta, entries, order, ends. ARGV: node, seconds until a silent node is forgotten,
-- seconds that everything is kept.
-- Answers: nodes that live, birth of the ledgers, number of the last entry.
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], time[1], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', time[1] - ARGV[2])
-- Nodes with a clock of the store that was ahead, before a failover.
redis.call('ZREMRANGEBYSCORE', KEYS[1], time[1] + ARGV[2], '+inf')
local birth = redis.call('HGET', KEYS[2], 'e')
if not birth then
  birth = time[1] .. string.format('%06d', time[2])
  redis.call('HSET', KEYS[2], 'e', birth)
end
for _, key in ipairs(KEYS) do
  redis.call('EXPIRE', key, ARGV[3])
end
return { redis.call('ZCARD', KEYS[1]), birth, tonumber(redis.call('HGET', KEYS[2], 'v') or 0) }
