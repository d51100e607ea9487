-- Charges one key of a limit, and grants a lease as far as all windows have room.
-- KEYS[1]: the key, a hash. ARGV: owed (always charged; negative: given back), wanted, parts (a lease
-- is at most this part of the room), seconds east of UTC, then for each window
--   'r', microseconds for a unit, microseconds of the burst, ceiling of what is believed, 0
--   'd' or 'm', units of a day or month, 0, 0, units to add that the store does not know of
-- Answers: granted, microseconds to wait when nothing was, room that is left, birth of the key,
-- whether it was born now. Time is the store's own.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local owed, wanted = tonumber(ARGV[1]), tonumber(ARGV[2])
local parts, offset = tonumber(ARGV[3]), tonumber(ARGV[4])

local function period(kind)
  local at = math.max(0, time[1] + offset)
  local day = math.floor(at / 86400)
  if kind == 'd' then
    return day, (day + 1) * 86400 - at
  end
  -- Days to months, by eras of 400 years (H. Hinnant, chrono-Compatible Low-Level Date Algorithms).
  local z = day + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  local days = ({ 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 })[month]
  if month == 2 and year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0) then
    days = 29
  end
  local date = doy - math.floor((153 * mp + 2) / 5) + 1
  return (year - 1970) * 12 + month - 1, (day + days - date + 1) * 86400 - at
end

local raw = redis.call('HGETALL', KEYS[1])
local kept = {}
for i = 1, #raw, 2 do
  kept[raw[i]] = tonumber(raw[i + 1])
end
local born = kept['e'] == nil
local birth = kept['e'] or now

local windows, room, wait = {}, nil, 0
for i = 5, #ARGV, 5 do
  local kind = ARGV[i]
  local index = #windows
  local w = { kind = kind }
  local free, later
  if kind == 'r' then
    w.cost, w.burst = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
    local ceiling = tonumber(ARGV[i + 3])
    local tat = kept['r' .. index] or 0
    -- Written under a clock that was ahead: taken as full, not as full for years.
    if tat > now + ceiling then
      tat = now + w.burst
    end
    if owed < 0 then
      tat = tat + math.ceil(owed * w.cost)
    end
    tat = math.max(tat, now)
    if owed > 0 then
      tat = tat + math.ceil(owed * w.cost)
    end
    w.tat = tat
    free = math.floor((now + w.burst - tat) / w.cost)
    later = tat + w.cost - w.burst - now
  else
    local number, left = period(kind)
    local used = 0
    local known = kept['p' .. index]
    -- One period ahead: a clock was set back, which opens nothing.
    if known == number or known == number + 1 then
      number, used = known, kept['c' .. index] or 0
    end
    w.period, w.left = number, left
    w.used = math.max(0, used + owed + tonumber(ARGV[i + 4]))
    free = tonumber(ARGV[i + 1]) - w.used
    later = left * 1000000
  end
  if free < 1 then
    wait = math.max(wait, later, 1)
  end
  room = math.min(room or free, free)
  windows[index + 1] = w
end

room = math.max(0, room or 0)
local granted = math.min(wanted, math.max(1, math.floor(room / parts)), room)
local fields, ttl = { 'e', string.format('%.0f', birth) }, 1000
for index, w in ipairs(windows) do
  if w.kind == 'r' then
    local tat = w.tat + math.ceil(granted * w.cost)
    fields[#fields + 1] = 'r' .. (index - 1)
    fields[#fields + 1] = string.format('%.0f', tat)
    ttl = math.max(ttl, math.ceil((tat - now) / 1000) + 1000)
  else
    fields[#fields + 1] = 'p' .. (index - 1)
    fields[#fields + 1] = string.format('%.0f', w.period)
    fields[#fields + 1] = 'c' .. (index - 1)
    fields[#fields + 1] = string.format('%.0f', w.used + granted)
    ttl = math.max(ttl, (w.left + 3600) * 1000)
  end
end
redis.call('HSET', KEYS[1], unpack(fields))
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', ttl))
return { granted, math.ceil(wait), room - granted, string.format('%.0f', birth), born and 1 or 0 }
