-- Removes finished messages that are too old or too many.
-- KEYS: the set of finished ids, the hash of payloads, the prefix of the metadata
-- ARGV: how many may stay, how many seconds they may stay, then the ids to look at
local now = tonumber(redis.call('TIME')[1])
local surplus = redis.call('SCARD', KEYS[1]) - tonumber(ARGV[1])
local removed = 0
for i = 3, #ARGV do
    local id = ARGV[i]
    local meta = KEYS[3] .. ':' .. id
    local done_at = tonumber(redis.call('HGET', meta, 'done_at') or 0) or 0
    local old = now - done_at > tonumber(ARGV[2])
    if (old or removed < surplus) and redis.call('SREM', KEYS[1], id) == 1 then
        redis.call('HDEL', KEYS[2], id)
        redis.call('DEL', meta)
        removed = removed + 1
    end
end
return removed
