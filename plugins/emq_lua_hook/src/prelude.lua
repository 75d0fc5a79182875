-- Run in each interpreter before its script: what the script sees as its globals, and how it is called. The script
-- reaches nothing of this file but what stands in `base`.
local caught, enter, strings = ...
local next, type, error = next, type, error
local rawget, setmetatable = rawget, setmetatable
local pcall, xpcall = pcall, xpcall

local base = {}
for _, name in next, {
  "_VERSION", "assert", "error", "getmetatable", "ipairs", "next", "pairs", "print", "rawequal", "rawget", "rawlen",
  "rawset", "select", "tonumber", "tostring", "type", "unpack",
} do
  base[name] = _G[name]
end

-- Who catches an error gets its text, not the object of the library function that raised it. A budget that is used up
-- is raised again.
local function checked(ok, ...)
  if ok then
    return true, ...
  end
  return false, caught(...)
end

function base.pcall(f, ...)
  return checked(pcall(f, ...))
end

function base.xpcall(f, handler, ...)
  return checked(xpcall(f, function(...)
    return handler(caught(...))
  end, ...))
end

-- A finalizer would run where no hook counts its instructions.
function base.setmetatable(object, meta)
  if type(meta) == "table" and rawget(meta, "__gc") ~= nil then
    error("__gc cannot be used here", 2)
  end
  return setmetatable(object, meta)
end

-- What `pairs` goes through: what was assigned to `seen`, and what lies below it.
local function merged(below)
  return function(seen)
    local all = {}
    for name, value in next, below do
      all[name] = value
    end
    for name, value in next, seen do
      all[name] = value
    end
    return next, all, nil
  end
end

-- A library is seen through an empty table, which takes what the script assigns and is replaced when it has taken
-- something. Methods of strings are found through it, too.
strings.__metatable = false
local seen, renew = {}, {}

local function shelter(parent, name, library)
  for key, member in next, library do
    if type(member) == "table" then
      shelter(library, key, member)
    end
  end
  local meta = { __index = library, __metatable = false, __pairs = merged(library) }
  local at = #seen + 1
  renew[at] = function()
    local new = setmetatable({}, meta)
    seen[at] = new
    parent[name] = new
    if library == string then
      strings.__index = new
    end
  end
  renew[at]()
end

string.dump = nil
for _, name in next, { "bit32", "emq", "math", "os", "string", "table" } do
  shelter(base, name, _G[name])
end

local shelters = #seen
local globals = { __index = base, __metatable = false, __pairs = merged(base) }
local main, env

-- Runs the script's file from nothing, and what it does to register itself.
local function fresh()
  for at = 1, shelters do
    if next(seen[at]) ~= nil then
      renew[at]()
    end
  end
  env = setmetatable({ _G = false }, globals)
  env._G = env
  main(env)
  return env.register_hook()
end

local function load(chunk)
  main = chunk
  return fresh()
end

local function has(name)
  return type(env[name]) == "function"
end

local function call_fresh(name, ...)
  fresh()
  enter()
  return env[name](...)
end

local function call_kept(name, ...)
  return env[name](...)
end

return load, has, call_fresh, call_kept
