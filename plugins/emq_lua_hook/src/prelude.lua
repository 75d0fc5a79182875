-- Run in each interpreter before its script: what the script sees as its globals, and how it is called. The script
-- reaches nothing of this file but what stands in `base` and `libraries`.
local caught, rerun, enter, strings = ...
local next, type, error = next, type, error
local rawget, setmetatable = rawget, setmetatable
local pcall, xpcall = pcall, xpcall

local base = {}
for _, name in next, {
  "_VERSION", "assert", "error", "getmetatable", "ipairs", "next", "pairs", "rawequal", "rawget", "rawlen", "rawset",
  "select", "tonumber", "tostring", "type", "unpack",
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

-- What `pairs` goes through: all that can be seen in `seen`.
local function merged(...)
  local below = { ... }
  return function(seen)
    local all = {}
    for _, layer in next, below do
      for name, value in next, layer do
        all[name] = value
      end
    end
    for name, value in next, seen do
      all[name] = value
    end
    return next, all, nil
  end
end

-- A library is seen through an empty table, which takes what the script assigns and is replaced when it has taken
-- something. Each of these is a list of functions that see to it, for the library and the tables in it.
local libraries, refreshers = {}, {}

local function shelter(parent, name, library, refresh)
  for key, member in next, library do
    if type(member) == "table" then
      shelter(library, key, member, refresh)
    end
  end
  local meta = { __index = library, __metatable = false, __pairs = merged(library) }
  local seen
  local function renew(without)
    if seen ~= nil and next(seen) ~= nil then
      -- It goes before the next one is made: memory may be short because of what is in it.
      seen, parent[name] = nil, nil
      if library == string then
        strings.__index = library
      end
    end
    if seen == nil and not without then
      seen = setmetatable({}, meta)
      parent[name] = seen
      if library == string then
        strings.__index = seen
      end
    end
  end
  renew()
  refresh[#refresh + 1] = renew
end

string.dump = nil
strings.__metatable = false
for _, name in next, { "bit32", "emq", "math", "os", "string", "table" } do
  refreshers[name] = {}
  shelter(libraries, name, _G[name], refreshers[name])
end
libraries.print = print
refreshers.print = {}

-- A library comes into `base` when it is first asked for, and leaves it after the call: what was not asked for need
-- not be looked at. And only through it can something be done that is not to be done while the file is run again.
local loading, marked = false, false
local asked, count = {}, 0

setmetatable(base, {
  __index = function(_, name)
    local library = libraries[name]
    if library ~= nil then
      if loading and not marked then
        marked = true
        rerun()
      end
      -- In this order, since memory may end at each assignment.
      asked[count + 1] = name
      count = count + 1
      base[name] = library
      return library
    end
  end,
})

-- Who goes through all globals has asked for all libraries.
local seen_globals = merged(libraries, base)
local function all_globals(seen)
  for name in next, libraries do
    local _ = base[name]
  end
  return seen_globals(seen)
end

local globals = { __index = base, __metatable = false, __pairs = all_globals }
-- More globals than these, and their table is not used again.
local FEW = 100
local main, env

local function renew_libraries(without)
  for at = 1, count do
    local name = asked[at]
    base[name] = nil
    for _, refresh in next, refreshers[name] do
      refresh(without)
    end
  end
end

-- Lets go of all that the last call has left. It needs no memory.
local function forget()
  env = nil
  renew_libraries(true)
end

local function clear()
  local many = 0
  if env then
    for name in next, env do
      env[name] = nil
      many = many + 1
      if many > FEW then
        env = nil
        break
      end
    end
  end
  renew_libraries()
  count = 0
  env = env or setmetatable({}, globals)
  env._G = env
end

-- Runs the script's file from nothing, and what it does to register itself.
local function fresh()
  clear()
  loading, marked = true, false
  main(env)
  local register_hook = env.register_hook
  if register_hook == nil then
    error("there is no function register_hook", 0)
  end
  return register_hook()
end

local function loaded(...)
  loading = false
  return ...
end

local function load(chunk)
  main = chunk
  return loaded(fresh())
end

local function has(name)
  return type(env[name]) == "function"
end

-- The function of that name, in the state that loading left.
local function callback(name)
  fresh()
  loading = false
  if marked then
    enter()
  end
  return env[name]
end

-- As things are.
local function kept(name)
  return env[name]
end

-- Whether a message is as it was, and else what the callback has returned.
local function settled(topic, payload, qos, retain, ...)
  local newtopic, newpayload, newqos, newretain, more = ...
  if newtopic == topic and newpayload == payload and newqos == qos and newretain == retain and more == nil then
    return true
  end
  return false, ...
end

-- What the broker calls for each hook.
local function caller(name, keep)
  local find = keep and kept or callback
  if name == "on_message_publish" then
    return function(clientid, username, topic, payload, qos, retain)
      local f = find(name)
      return settled(topic, payload, qos, retain, f(clientid, username, topic, payload, qos, retain))
    end
  end
  return function(...)
    return find(name)(...)
  end
end

return load, has, caller, forget
