//! `bin/emqttd`, with the plugins that come with it.

use std::process::ExitCode;

fn main() -> ExitCode {
    emqttd::run(vec![
        emq_auth_clientid::plugin(),
        emq_auth_http::plugin(),
        emq_auth_jwt::plugin(),
        emq_auth_ldap::plugin(),
        emq_auth_mongo::plugin(),
        emq_auth_mysql::plugin(),
        emq_auth_pgsql::plugin(),
        emq_auth_redis::plugin(),
        emq_auth_username::plugin(),
        emq_coap::plugin(),
        emq_dashboard::plugin(),
        emq_lua_hook::plugin(),
        emq_modules::plugin(),
        emq_recon::plugin(),
        emq_reloader::plugin(),
        emq_retainer::plugin(),
        emq_sn::plugin(),
        emq_sockjs::plugin(),
        emq_stomp::plugin(),
        emq_web_hook::plugin(),
    ])
}
