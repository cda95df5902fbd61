-- Makes room for an input that is stored before its job is submitted.
-- args: id, name (of the blob), owner or nil, room (see admission.lua)
-- Returns {} or what admission.lua says
local now = now_ms()
local refused = refusal(args.room, args.owner, now)
if refused then return refused end
redis.call('HSET', KEY.reserved, args.id, string.format('%.0f %.0f', now, args.room.bytes))
add_blob(args.id, args.name, args.room.bytes, args.owner)
return {}
