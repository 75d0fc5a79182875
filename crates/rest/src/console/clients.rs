//! Clients that are connected: searched, and one with all that is known of it.

use super::forms::{
    Ask, Checked, Envelope, Guarded, Listing, Named, Patient, Place, bad, find, local_time,
    missing, refused, sorts, word,
};
use super::sessions::SessionRow;
use super::subscriptions::SubscriptionRow;
use crate::answer::{Answer, Refusal};
use crate::state::App;
use axum::extract::State;
use emqttd_broker::{ClientFilter, ClientOrder};
use emqttd_plugin_sdk::Client;
use serde::{Deserialize, Serialize};
use utoipa::openapi::Object;
use utoipa::{IntoParams, ToSchema};

/// Which clients, and in which order.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ClientQuery {
    /// in the client identifier, upper or lower case
    pub search: Option<String>,
    /// exactly this user name
    pub username: Option<String>,
    /// how the address begins
    pub ip: Option<String>,
    /// protocol of the listener, such as `mqtt:tcp`
    pub listener: Option<String>,
    /// protocol level: 3, 4 or 5
    #[param(minimum = 3, maximum = 5)]
    pub proto_ver: Option<u8>,
    /// clean session
    pub clean_sess: Option<bool>,
    /// `client_id`, `username`, `ipaddress`, `connected_at`, `proto_ver` or `keepalive`; behind `-` the greatest first
    #[param(schema_with = sort_values)]
    pub sort: Option<String>,
    /// rows of the answer, 50 when absent
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u64>,
    /// the `cursor` of the answer before
    pub cursor: Option<String>,
}

/// A client that is connected.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ClientRow {
    /// client identifier
    pub client_id: String,
    /// user name, `undefined` when there is none
    pub username: String,
    /// its address
    #[schema(example = "127.0.0.1")]
    pub ipaddress: String,
    /// its port
    pub port: u16,
    /// clean session (3.x), clean start (5.0)
    pub clean_sess: bool,
    /// protocol level: 3, 4 or 5
    pub proto_ver: u8,
    /// keep alive in force, seconds
    pub keepalive: u16,
    /// local time
    #[schema(example = "2026-11-23 18:36:00")]
    pub connected_at: String,
    /// the same in unix seconds
    pub connected_at_unix: u64,
    /// protocol of the listener it came in by
    #[schema(example = "mqtt:tcp")]
    pub listener: String,
}

/// All about a client.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClientDetail {
    /// as in the list
    pub client: ClientRow,
    /// its session
    pub session: SessionRow,
    /// the listener it came in by
    pub listener: ListenerName,
    /// what came and went since it connected
    pub traffic: Traffic,
    /// its will, null without one
    pub will: Option<Will>,
    /// seconds for which its session outlives it, null for ever
    pub expiry_interval: Option<u64>,
    /// mountpoint of its listener
    pub mountpoint: Option<String>,
    /// the ACL is not asked about it
    pub superuser: bool,
    /// bytes on their way to it
    pub send_pending: u64,
    /// its subscriptions, the first 1,000
    pub subscriptions: Vec<SubscriptionRow>,
}

/// A listener by its names.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListenerName {
    /// `mqtt:tcp`, …
    pub protocol: String,
    /// its address; empty where it is not known
    pub address: String,
}

/// What came from a client and went to it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Traffic {
    /// packets from it
    pub packets_received: u64,
    /// packets to it
    pub packets_sent: u64,
    /// bytes from it
    pub bytes_received: u64,
    /// bytes to it
    pub bytes_sent: u64,
    /// messages from it
    pub messages_received: u64,
    /// messages to it
    pub messages_sent: u64,
}

/// What is published when the client goes without a word. Its payload is not shown.
#[derive(Debug, Serialize, ToSchema)]
pub struct Will {
    /// topic
    pub topic: String,
    /// QoS
    pub qos: u8,
    /// whether it is retained
    pub retain: bool,
    /// bytes of its payload
    pub payload_size: u64,
    /// seconds before it is published
    pub delay: u64,
}

const ORDERS: [(&str, ClientOrder); 6] = [
    ("client_id", ClientOrder::ClientId),
    ("username", ClientOrder::Username),
    ("ipaddress", ClientOrder::IpAddress),
    ("connected_at", ClientOrder::ConnectedAt),
    ("proto_ver", ClientOrder::ProtoVer),
    ("keepalive", ClientOrder::Keepalive),
];

fn sort_values() -> Object {
    sorts(&ORDERS)
}

/// As EMQ writes an absent user name.
const NO_NAME: &str = "undefined";

impl ClientRow {
    fn of(row: emqttd_broker::ClientRow) -> ClientRow {
        ClientRow::of_info(row.client, row.listener)
    }

    fn of_info(client: emqttd_broker::ClientInfo, listener: String) -> ClientRow {
        ClientRow {
            client_id: client.clientid,
            username: client.username.unwrap_or_else(|| NO_NAME.into()),
            ipaddress: client.peername.ip().to_string(),
            port: client.peername.port(),
            clean_sess: client.clean_sess,
            proto_ver: client.proto_ver,
            keepalive: client.keepalive,
            connected_at: local_time(client.connected_at),
            connected_at_unix: client.connected_at,
            listener,
        }
    }

    /// The same of a client as hooks have it.
    pub fn of_client(client: &Client) -> ClientRow {
        ClientRow {
            client_id: client.clientid.to_string(),
            username: client.username.as_deref().unwrap_or(NO_NAME).into(),
            ipaddress: client.peername.ip().to_string(),
            port: client.peername.port(),
            clean_sess: client.clean_sess,
            proto_ver: client.proto_ver,
            keepalive: client.keepalive,
            connected_at: local_time(client.connected_at),
            connected_at_unix: client.connected_at,
            listener: client.listener.clone(),
        }
    }
}

impl ClientDetail {
    fn of(detail: emqttd_broker::ClientDetail) -> ClientDetail {
        let subscriptions = detail.subscriptions.into_iter();
        ClientDetail {
            client: ClientRow::of_info(detail.client, detail.listener.clone()),
            session: SessionRow::of(detail.session),
            listener: ListenerName {
                protocol: detail.listener,
                address: detail.listen_on,
            },
            traffic: Traffic {
                packets_received: detail.traffic.packets_received,
                packets_sent: detail.traffic.packets_sent,
                bytes_received: detail.traffic.bytes_received,
                bytes_sent: detail.traffic.bytes_sent,
                messages_received: detail.traffic.messages_received,
                messages_sent: detail.traffic.messages_sent,
            },
            will: detail.will.map(|will| Will {
                topic: will.topic,
                qos: will.qos,
                retain: will.retain,
                payload_size: will.payload_size as u64,
                delay: will.delay.into(),
            }),
            expiry_interval: (detail.expiry_interval != u32::MAX)
                .then_some(detail.expiry_interval.into()),
            mountpoint: detail.mountpoint,
            superuser: detail.superuser,
            send_pending: detail.send_pending as u64,
            subscriptions: subscriptions.map(SubscriptionRow::of).collect(),
        }
    }
}

/// Search the clients that are connected
///
/// Without `sort` they come in no special order, and the cursor stays good while others come and go. Scope `read`.
#[utoipa::path(get, path = "/search/clients", tag = "Clients", operation_id = "search_clients", params(ClientQuery),
    responses((status = 200, description = "clients", body = Envelope<Listing<ClientRow>>), Guarded, Checked, Patient))]
pub async fn search(
    State(app): State<App>,
    Ask(query): Ask<ClientQuery>,
) -> Result<Answer<Listing<ClientRow>>, Refusal> {
    if query
        .proto_ver
        .is_some_and(|level| !(3..=5).contains(&level))
    {
        return Err(bad("proto_ver should be 3, 4 or 5"));
    }
    let filter = ClientFilter {
        search: word(query.search),
        username: word(query.username),
        ip: word(query.ip),
        listener: word(query.listener),
        proto_ver: query.proto_ver,
        clean_sess: query.clean_sess,
    };
    let find = find(filter, &ORDERS, query.sort, query.limit, query.cursor)?;
    let page = app.ask(move |core| core.broker.find_clients(&find)).await?;
    let page = page.map_err(refused)?;
    Ok(Answer(Listing::of(page, ClientRow::of)))
}

/// All about a client
///
/// Its session, traffic, will, subscriptions. Scope `read`.
#[utoipa::path(get, path = "/clients/{id}/detail", tag = "Clients", operation_id = "client_detail",
    params(("id" = String, Path, description = "client identifier, percent-encoded")),
    responses((status = 200, description = "the client", body = Envelope<ClientDetail>), Guarded, Checked, Named))]
pub async fn detail(
    State(app): State<App>,
    Place(id): Place<String>,
) -> Result<Answer<ClientDetail>, Refusal> {
    let found = app.ask(move |core| core.broker.client_detail(&id)).await?;
    let detail = found.ok_or_else(|| missing("there is no such client"))?;
    Ok(Answer(ClientDetail::of(detail)))
}
