-- Functions of `string` that call back into the script; they are here since the count hook then sees all they do.
local checks, scan, replace, spend = ...
local integer, text, where = checks.integer, checks.text, checks.where
local type, error, sub, concat = type, error, string.sub, table.concat

-- The text of a value that stands for one, or nil.
local function written(value)
  local kind = type(value)
  if kind == "string" or kind == "number" then
    return value
  end
end

-- One match: where it is, and what stands in its place.
local function called(f, first, last, ...)
  if first then
    return first, last, f(...)
  end
end

local function found(t, first, last, capture)
  if first then
    return first, last, t[capture]
  end
end

local function gsub(s, pattern, replacement, most)
  local kind = type(replacement)
  local one, most_captures
  if kind == "function" then
    one, most_captures = called, 32
  elseif kind == "table" then
    one, most_captures = found, 1
  else
    return replace(s, pattern, replacement, most)
  end
  s, pattern = text(s, 1, "gsub"), text(pattern, 2, "gsub")
  local length = #s
  most = most == nil and length + 1 or integer(most, 4, "gsub")
  if most < 0 then
    most = length + 1
  end
  local anchored = sub(pattern, 1, 1) == "^"
  -- `from` is where the next match is looked for, `kept` the first byte not yet in `parts`.
  local parts, n, count, from, kept = {}, 0, 0, 1, 1
  while count < most and from <= length + 1 do
    local first, last, value = one(replacement, scan(s, pattern, from, true, most_captures))
    if not first then
      break
    end
    count = count + 1
    if value then
      if not written(value) then
        error(where() .. "invalid replacement value (a " .. type(value) .. ")", 0)
      end
      parts[n + 1], parts[n + 2] = sub(s, kept, first - 1), value
      n, kept = n + 2, last + 1
    end
    if anchored then
      break
    end
    from = last >= first and last + 1 or first + 1
  end
  if n == 0 then
    return s, count
  end
  parts[n + 1] = sub(s, kept)
  local result = concat(parts)
  if #result > 3000 then
    spend(#result / 32)
  end
  return result, count
end

local function gmatch(s, pattern)
  s, pattern = text(s, 1, "gmatch"), text(pattern, 2, "gmatch")
  local from = 1
  local function passed(first, last, ...)
    if first then
      from = last >= first and last + 1 or first + 1
      return ...
    end
  end
  return function()
    return passed(scan(s, pattern, from, false, 32))
  end
end

string.gsub, string.gmatch = gsub, gmatch
