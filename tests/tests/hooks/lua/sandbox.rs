//! What scripts cannot do: reach files, processes, the network, or each other.

use emqttd_tests::Version;

use super::dialect::evaluate;
use super::{broker, echo, on_publish};

#[test]
fn what_is_not_there() {
    evaluate(&[
        ("io", "nil"),
        ("debug", "nil"),
        ("package", "nil"),
        ("require", "nil"),
        ("module", "nil"),
        ("dofile", "nil"),
        ("loadfile", "nil"),
        ("coroutine", "nil"),
        ("os.execute", "nil"),
        ("os.exit", "nil"),
        ("os.getenv", "nil"),
        ("os.remove", "nil"),
        ("os.rename", "nil"),
        ("os.tmpname", "nil"),
        ("os.setlocale", "nil"),
        ("string.dump", "nil"),
        ("jit", "nil"),
        ("ffi", "nil"),
        (
            "load and pcall(load, \"\\27Lua\") and load(\"\\27Lua\") or nil",
            "nil",
        ),
        ("loadstring and loadstring(\"\\27Lua\") or nil", "nil"),
    ]);
}

/// The tables that all scripts use are as they were, whatever one of them tries.
#[test]
fn scripts_cannot_reach_each_other() {
    let attacks = [
        "string.format = nil",
        "string.format = function() return \"mine\" end",
        "_G.string = nil",
        "_G.tostring = nil",
        "string = nil",
        "rawset(string, \"format\", nil)",
        "rawset(_G, \"tostring\", nil)",
        "getmetatable(\"\").__index = function() return \"mine\" end",
        "getmetatable(\"\").__index.format = nil",
        "rawset(getmetatable(\"\"), \"__index\", nil)",
        "setmetatable(string, { __index = error })",
        "setmetatable(_G, { __index = error })",
        "getmetatable(_G).__index = nil",
        "getmetatable(_G).__index.string.format = nil",
        "rawset(getmetatable(_G).__index, \"string\", nil)",
        "getmetatable(_G).__index.emq = nil",
        "_ENV = {}",
        "_ENV.string.format = nil",
        "table.insert(string, 1)",
        "for name in pairs(string) do string[name] = nil end",
        "for name in pairs(getmetatable(_G).__index) do rawset(getmetatable(_G).__index, name, nil) end",
        "math.floor = string.format",
        "emq.log = nil",
        "table.sort(string)",
        "local next = next; local k = next(string); string[k] = nil",
        "shared = \"left behind\"",
        "emq.left = \"left behind\"",
        "string.left = \"left behind\"",
        // Takes its own globals away, the callback among them: the last one.
        "for name in pairs(_G) do _G[name] = nil end",
    ];
    let functions: String = attacks
        .iter()
        .map(|attack| format!("function() {attack} end,\n"))
        .collect();
    let attacker = format!(
        "local pcall, tonumber, match = pcall, tonumber, string.match\nlocal attacks = {{\n{functions}}}\n{}",
        on_publish(
            "pcall(attacks[tonumber(match(payload, \"^%d+\"))])\nreturn topic, payload .. \" tried\", qos, retain"
        )
    );
    let victim = on_publish(
        "local seen = { string.format(\"%d\", 7), tostring(math.floor(1.5)), (\"x\"):upper(), type(emq.log),\n\
             tostring(shared), tostring(emq.left), tostring(string.left), type(next), table.concat({ 1, 2 }) }\n\
         return topic, payload .. \" \" .. table.concat(seen, \",\"), qos, retain",
    );
    let fine = " 7,1,X,function,nil,nil,nil,function,12";
    for keys in ["", "lua.state = keep\n"] {
        // Nobody promises an order of scripts: there is a victim before and after.
        let broker = broker(
            &[
                ("m_attacker", &attacker),
                ("a_victim", &victim),
                ("z_victim", &victim),
            ],
            keys,
        );
        let mut client = broker.client(Version::V311, "sandbox");
        client.sub("t", 1);
        for (n, attack) in (1..).zip(attacks) {
            for payload in [n.to_string(), "0".into()] {
                let got = echo(&mut client, "t", &payload);
                assert_eq!(got.matches(fine).count(), 2, "{keys}{attack}: {got}");
            }
        }
    }
}
