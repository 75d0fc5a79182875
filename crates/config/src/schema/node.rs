//! `cluster.*`, `node.*`, `sasl`, `persistence.*`, `log.*`, `sysmon.*`.

use super::{Key, NATURAL, PERIOD, POSITIVE, SIZE};
use crate::Reload;
use crate::value::Type;

const LEVELS: Type = Type::Enum(&[
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
    "none",
]);
const SYSLOG_LEVELS: Type = Type::Enum(&[
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
]);
const FACILITIES: Type = Type::Enum(&[
    "daemon", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
]);
const DISCOVERY: Type = Type::Enum(&["manual", "static", "mcast", "dns", "etcd", "k8s"]);

const fn key(pattern: &'static str, kind: Type, meaning: &'static str) -> Key {
    Key::new(pattern, kind, meaning)
}

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    // Clustering comes with a later version: the keys are checked and kept.
    key("cluster.name", Type::Text, "name of the cluster; discovery joins equal names only")
        .default("emqcl").ships("emqcl").kept(),
    key("cluster.discovery", DISCOVERY, "how nodes find each other")
        .default("manual").ships("manual").kept(),
    key("cluster.autoheal", Type::Flag, "heal after a partition")
        .default("off").ships("on").kept(),
    key("cluster.autoclean", PERIOD, "drop members that have been down for so long")
        .ships("5m").kept(),
    key("cluster.static.seeds", Type::Text, "node names, with commas")
        .shows("emq1@127.0.0.1,emq2@127.0.0.1").kept(),
    key("cluster.mcast.addr", Type::Ip, "multicast group")
        .default("239.192.0.1").shows("239.192.0.1").kept(),
    key("cluster.mcast.ports", Type::Text, "ports, with commas; the first free one is bound")
        .default("4369").shows("4369,4370").kept(),
    key("cluster.mcast.iface", Type::Ip, "address of the interface")
        .default("0.0.0.0").shows("0.0.0.0").kept(),
    key("cluster.mcast.ttl", Type::Integer { min: 0, max: 255 }, "hops")
        .default("255").shows("255").kept(),
    key("cluster.mcast.loop", Type::Flag, "hear one's own packets")
        .default("on").shows("on").kept(),
    key("cluster.mcast.sndbuf", SIZE, "never applied, in EMQ neither")
        .default("16KB").without_effect(),
    key("cluster.mcast.recbuf", SIZE, "never applied, in EMQ neither")
        .default("16KB").without_effect(),
    key("cluster.mcast.buffer", SIZE, "never applied, in EMQ neither")
        .default("32KB").without_effect(),
    key("cluster.dns.name", Type::Text, "name whose A records are the nodes")
        .shows("localhost").kept(),
    key("cluster.dns.app", Type::Text, "what stands before the @ of the nodes' names")
        .shows("emq").kept(),
    key("cluster.etcd.server", Type::Text, "URLs, with commas")
        .shows("http://127.0.0.1:2379").kept(),
    key("cluster.etcd.prefix", Type::Text, "prefix of the keys")
        .default("emqcl").shows("emqcl").kept(),
    key("cluster.etcd.node_ttl", PERIOD, "life of a node's key")
        .default("1m").shows("1m").kept(),
    key("cluster.k8s.apiserver", Type::Text, "URL of the API server")
        .shows("http://10.110.111.204:8080").kept(),
    key("cluster.k8s.service_name", Type::Text, "name of the endpoints object")
        .shows("emq").kept(),
    key("cluster.k8s.address_type", Type::Enum(&["ip", "dns"]), "what the host part of a name is")
        .default("ip").shows("ip").kept(),
    key("cluster.k8s.app_name", Type::Text, "what stands before the @ of the nodes' names")
        .shows("emq").kept(),
    key("cluster.k8s.namespace", Type::Text, "namespace of the service")
        .default("default").shows("default").kept(),

    key("node.name", Type::NodeName, "name@host of this node, in $SYS topics, the CLI and the API")
        .default("emq@127.0.0.1").ships("emq@127.0.0.1"),
    key("node.cookie", Type::Secret, "secret shared between nodes")
        .default("emqsecretcookie").ships("emqsecretcookie").kept(),
    key("node.smp", Type::Enum(&["enable", "auto", "disable"]), "Erlang VM")
        .default("auto").ships("auto").without_effect(),
    key("node.heartbeat", Type::FlagOn, "Erlang VM").shows("on").without_effect(),
    key("node.kernel_poll", Type::Flag, "Erlang VM")
        .default("on").ships("on").without_effect(),
    key("node.async_threads", Type::Integer { min: 0, max: 1024 }, "Erlang VM")
        .default("64").ships("32").without_effect(),
    key("node.process_limit", NATURAL, "Erlang VM")
        .default("256000").ships("256000").without_effect(),
    key("node.max_ports", Type::Integer { min: 1024, max: 134_217_727 }, "open files asked of the system")
        .default("262144").ships("65536"),
    key("node.dist_buffer_size", Type::ByteSize { min: 1 << 10, max: 2_097_151 << 10 }, "Erlang VM")
        .ships("8MB").without_effect(),
    key("node.max_ets_tables", NATURAL, "Erlang VM")
        .default("256000").ships("256000").without_effect(),
    key("node.fullsweep_after", NATURAL, "Erlang VM")
        .default("1000").ships("1000").without_effect(),
    key("node.crash_dump", Type::File, "Erlang VM").ships("log/crash.dump").without_effect(),
    key("node.proto_dist", Type::Enum(&["inet_tcp", "inet6_tcp", "inet_tls"]), "transport between nodes")
        .default("inet_tcp").ships("inet_tcp").kept(),
    key("node.ssl_dist_optfile", Type::File, "Erlang VM").shows("etc/ssl_dist.conf").without_effect(),
    key("node.dist_net_ticktime", POSITIVE, "seconds until a silent peer counts as down")
        .ships("60").kept(),
    key("node.dist_listen_min", Type::Integer { min: 0, max: 65_535 }, "lowest port between nodes")
        .ships("6369").kept(),
    key("node.dist_listen_max", Type::Integer { min: 0, max: 65_535 }, "highest port between nodes")
        .ships("6379").kept(),
    key("node.shards", Type::Integer { min: 0, max: 1024 }, "event loops; 0 chooses by the number of cores")
        .default("0").shows("0"),
    key("node.data_dir", Type::File, "where the broker keeps its state")
        .default("data").shows("data"),
    key("sasl", Type::Flag, "Erlang VM").default("off").without_effect(),

    key("persistence.sync", Type::Sync, "when an acknowledged message is on disk; off = nothing is kept")
        .default("always").ships("always"),
    key("persistence.dir", Type::File, "directory of the store, below node.data_dir")
        .default("store").shows("store"),
    key("persistence.max_bytes", SIZE, "bytes the store may take on disk; 0 = no limit")
        .default("0").shows("0"),
    key("persistence.segment_bytes", Type::ByteSize { min: 1 << 20, max: 1 << 30 }, "bytes of one file of the store")
        .default("32MB").shows("32MB"),

    key("log.dir", Type::File, "directory of the logs").default("log").ships("log"),
    key("log.console", Type::Enum(&["off", "file", "console", "both"]), "where the console log goes")
        .default("file").ships("console"),
    key("log.console.level", LEVELS, "least severity that the console log takes")
        .default("info").ships("error").reload(Reload::Now),
    key("log.console.file", Type::File, "file of the console log")
        .default("log/console.log").shows("log/console.log"),
    key("log.console.size", NATURAL, "bytes at which it is rotated; 0 = at midnight only")
        .default("10485760").shows("10485760"),
    key("log.console.count", NATURAL, "rotated files kept").default("5").shows("5"),
    key("log.info.file", Type::File, "log of info and above; absent = none").shows("log/info.log"),
    key("log.info.size", NATURAL, "bytes at which it is rotated; 0 = at midnight only")
        .default("10485760").shows("10485760"),
    key("log.info.count", NATURAL, "rotated files kept").default("5").shows("5"),
    key("log.error.file", Type::File, "log of error and above")
        .default("log/error.log").ships("log/error.log"),
    key("log.error.size", NATURAL, "bytes at which it is rotated; 0 = at midnight only")
        .default("10485760").ships("10485760"),
    key("log.error.count", NATURAL, "rotated files kept").default("5").ships("5"),
    key("log.error.redirect", Type::Flag, "Erlang VM").default("on").without_effect(),
    key("log.error.messages_per_second", NATURAL, "lines above this rate are dropped")
        .default("1000"),
    key("log.crash", Type::Flag, "write a report when something inside fails")
        .default("on").ships("on"),
    key("log.crash.file", Type::File, "file of those reports")
        .default("log/crash.log").ships("log/crash.log"),
    key("log.syslog", Type::Flag, "write to syslog too").default("off").ships("on"),
    key("log.syslog.identity", Type::Text, "name of the program in syslog").default("emqttd"),
    key("log.syslog.facility", FACILITIES, "facility in syslog").default("local0"),
    key("log.syslog.level", SYSLOG_LEVELS, "least severity sent to syslog")
        .default("error").ships("error"),

    key("sysmon.long_gc", Type::Bool, "Erlang VM").default("false").ships("false").without_effect(),
    key("sysmon.long_schedule", NATURAL, "Erlang VM").default("1000").ships("240").without_effect(),
    key("sysmon.large_heap", SIZE, "Erlang VM").default("8MB").ships("8MB").without_effect(),
    key("sysmon.busy_port", Type::Bool, "Erlang VM").default("false").ships("false").without_effect(),
    key("sysmon.busy_dist_port", Type::Bool, "Erlang VM").default("true").ships("true").without_effect(),
];
