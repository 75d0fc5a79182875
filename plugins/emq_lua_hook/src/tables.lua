-- The library `table`, where the count hook sees all it does.
local checks, spend = ...
local bad, integer, length, where = checks.bad, checks.integer, checks.length, checks.where
local type, error, select, next = type, error, select, next
local rawget, rawset, getmetatable = rawget, rawset, getmetatable
local unpack_few = table.unpack

local function check(t, name)
  if type(t) ~= "table" then
    bad(1, name, "table expected, got " .. type(t))
  end
end

-- Elements are read and written past metamethods. Tables without a metatable have none, and are faster.
local function shift_up(t, from, last)
  if getmetatable(t) == nil then
    for i = last, from + 1, -1 do
      t[i] = t[i - 1]
    end
  else
    for i = last, from + 1, -1 do
      rawset(t, i, rawget(t, i - 1))
    end
  end
end

local function shift_down(t, from, last)
  if getmetatable(t) == nil then
    for i = from, last - 1 do
      t[i] = t[i + 1]
    end
  else
    for i = from, last - 1 do
      rawset(t, i, rawget(t, i + 1))
    end
  end
end

local function insert(t, ...)
  check(t, "insert")
  local free = length(t) + 1
  local given = select("#", ...)
  if given == 1 then
    rawset(t, free, (...))
  elseif given == 2 then
    local at, value = ...
    at = integer(at, 2, "insert")
    if at < 1 or at > free then
      bad(2, "insert", "position out of bounds")
    end
    shift_up(t, at, free)
    rawset(t, at, value)
  else
    error(where() .. "wrong number of arguments to 'insert'", 0)
  end
end

local function remove(t, at)
  check(t, "remove")
  local size = length(t)
  at = at == nil and size or integer(at, 2, "remove")
  if at ~= size and (at < 1 or at > size + 1) then
    bad(1, "remove", "position out of bounds")
  end
  local value = rawget(t, at)
  shift_down(t, at, size)
  rawset(t, at < size and size or at, nil)
  return value
end

local function unpack(t, first, last)
  check(t, "unpack")
  first = first == nil and 1 or integer(first, 2, "unpack")
  last = last == nil and length(t) or integer(last, 3, "unpack")
  if first > last then
    return
  end
  local n = last - first + 1
  if n > 200000 then
    error(where() .. "too many results to unpack", 0)
  end
  if n > 50 then
    spend(n)
  end
  return unpack_few(t, first, last)
end

local function maxn(t)
  check(t, "maxn")
  local most = 0
  for key in next, t do
    if type(key) == "number" and key > most then
      most = key
    end
  end
  return most
end

local function ascending(a, b)
  return a < b
end

local function disordered()
  error(where() .. "invalid order function for sorting", 0)
end

-- Quicksort as Lua's own goes about it, so that equal elements and broken orders end alike.
local function sort_between(t, low, high, less)
  while low < high do
    local a, b = t[low], t[high]
    if less(b, a) then
      t[low], t[high] = b, a
    end
    if high - low == 1 then
      return
    end
    local middle = (low + high) / 2
    middle = middle - middle % 1
    local pivot = t[middle]
    a = t[low]
    if less(pivot, a) then
      t[middle], t[low] = a, pivot
    else
      b = t[high]
      if less(b, pivot) then
        t[middle], t[high] = b, pivot
      end
    end
    if high - low == 2 then
      return
    end
    pivot = t[middle]
    t[middle], t[high - 1] = t[high - 1], pivot
    local i, j = low, high - 1
    while true do
      i = i + 1
      while less(t[i], pivot) do
        if i >= high then
          disordered()
        end
        i = i + 1
      end
      j = j - 1
      while less(pivot, t[j]) do
        if j <= low then
          disordered()
        end
        j = j - 1
      end
      if j < i then
        break
      end
      t[i], t[j] = t[j], t[i]
    end
    t[high - 1], t[i] = t[i], t[high - 1]
    -- The smaller half by recursion, so that its depth stays small; the larger one by the loop.
    if i - low < high - i then
      sort_between(t, low, i - 1, less)
      low = i + 1
    else
      sort_between(t, i + 1, high, less)
      high = i - 1
    end
  end
end

local function sort(t, less)
  check(t, "sort")
  local size = length(t)
  if less == nil then
    less = ascending
  elseif type(less) ~= "function" then
    bad(2, "sort", "function expected, got " .. type(less))
  end
  if getmetatable(t) == nil then
    return sort_between(t, 1, size, less)
  end
  local copy = {}
  for i = 1, size do
    copy[i] = rawget(t, i)
  end
  sort_between(copy, 1, size, less)
  for i = 1, size do
    rawset(t, i, copy[i])
  end
end

table.insert, table.remove, table.unpack, table.sort = insert, remove, unpack, sort
table.maxn, _G.unpack = maxn, unpack
