-- What the other files use to look at arguments: the errors are those of Lua's own library.
local where = ...
local type, error, tonumber = type, error, tonumber

local function bad(n, name, why)
  error(where() .. "bad argument #" .. n .. " to '" .. name .. "' (" .. why .. ")", 0)
end

local function integer(value, n, name)
  local kind = type(value)
  if kind ~= "number" then
    value = kind == "string" and tonumber(value)
    if not value then
      bad(n, name, "number expected, got " .. kind)
    end
  end
  local rest = value % 1
  if rest == 0 then
    return value
  end
  return value < 0 and value - rest + 1 or value - rest
end

local function text(value, n, name)
  local kind = type(value)
  if kind == "string" then
    return value
  elseif kind == "number" then
    return value .. ""
  end
  bad(n, name, "string expected, got " .. kind)
end

local function length(t)
  local size = #t
  if type(size) ~= "number" then
    error(where() .. "object length is not a number", 0)
  end
  return size - size % 1
end

return { bad = bad, integer = integer, text = text, length = length, where = where }
