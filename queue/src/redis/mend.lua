-- Completes messages that would end the worker that fetches them: apalis takes a missing payload
-- and unreadable metadata for a broken backend. Also lets the notes about dead workers expire.
-- KEYS: the set of workers, the hash of payloads, the prefix of the metadata, the prefix of the
--       sets of ids in the hands of a worker
-- ARGV: seconds that a worker's note outlives it
local states = { Pending = true, Queued = true, Running = true, Done = true, Failed = true, Killed = true }
local function number(text)
    return text and #text < 10 and string.match(text, '^%d+$')
end
local mended = 0
for _, worker in ipairs(redis.call('ZRANGE', KEYS[1], 0, 199)) do
    redis.call('EXPIRE', KEYS[1] .. ':metadata:' .. worker, ARGV[1])
    local held = KEYS[4] .. ':' .. worker
    for _, id in ipairs(redis.call('SRANDMEMBER', held, 100)) do
        if id == '' then
            mended = mended + redis.call('SREM', held, id)
        else
            local bare = redis.call('HSETNX', KEYS[2], id, '') == 1
            local meta = KEYS[3] .. ':' .. id
            local m = redis.call('HMGET', meta, 'attempts', 'max_attempts', 'status')
            if not (number(m[1]) and number(m[2]) and m[3] and states[m[3]]) then
                redis.call('DEL', meta)
                redis.call('HSET', meta, 'attempts', 0, 'max_attempts', 25, 'status', 'Pending')
                bare = true
            end
            if bare then
                mended = mended + 1
            end
        end
    end
end
return mended
