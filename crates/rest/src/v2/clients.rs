//! `clients`: who is connected.

use super::forms::{Body, Fault, Fields, Form, Here, Name, Objects, Page, Paging};
use crate::App;
use crate::answer::{Answer, DONE};
use crate::console::forms::{Done, Envelope, local_time};
use crate::openapi::Outcome;
use axum::extract::State;
use axum::response::IntoResponse;
use emqttd_broker::{ClientInfo, ClientOrder};
use serde::Serialize;
use utoipa::ToSchema;

/// A connected client.
#[derive(Debug, Serialize, ToSchema)]
pub struct Client {
    /// client identifier
    pub client_id: String,
    /// user name; `undefined` for none
    pub username: String,
    /// where it comes from
    pub ipaddress: String,
    /// its port there
    pub port: u16,
    /// clean session, or clean start
    pub clean_sess: bool,
    /// protocol level: 3, 4 or 5
    pub proto_ver: u8,
    /// keep alive, seconds
    pub keepalive: u16,
    /// local time, `YYYY-MM-DD HH:MM:SS`
    pub connected_at: String,
}

impl From<ClientInfo> for Client {
    fn from(info: ClientInfo) -> Client {
        Client {
            client_id: info.clientid,
            username: info.username.unwrap_or_else(|| "undefined".into()),
            ipaddress: info.peername.ip().to_string(),
            port: info.peername.port(),
            clean_sess: info.clean_sess,
            proto_ver: info.proto_ver,
            keepalive: info.keepalive,
            connected_at: local_time(info.connected_at),
        }
    }
}

/// The clients of a node, by client id.
#[utoipa::path(get, path = "/nodes/{node}/clients", tag = "Clients", operation_id = "node_clients",
    params(("node" = String, Path, description = "its name"), Paging),
    responses((status = 200, body = Envelope<Page<Client>>)))]
pub async fn list(_: Here, paging: Paging, app: State<App>) -> Result<Answer<Page<Client>>, Fault> {
    let page = app
        .ask(move |core| {
            core.broker
                .find_clients(&paging.find(ClientOrder::ClientId))
        })
        .await?
        .map_err(Fault::of_broker)?;
    let rows = page.rows.into_iter().map(|row| row.client.into()).collect();
    Ok(Answer(Page::new(paging, page.total, rows)))
}

async fn find(app: &App, id: String) -> Result<Answer<Objects<Client>>, Fault> {
    let found = app.ask(move |core| core.broker.client(&id)).await?;
    Ok(Answer(found.into_iter().map(Client::from).collect()))
}

/// A client of a node, or none.
#[utoipa::path(get, path = "/nodes/{node}/clients/{id}", tag = "Clients", operation_id = "node_client",
    params(("node" = String, Path, description = "its name"), ("id" = String, Path, description = "client id")),
    responses((status = 200, body = Envelope<Objects<Client>>)))]
pub async fn one_of_node(
    Name(id): Name,
    app: State<App>,
) -> Result<Answer<Objects<Client>>, Fault> {
    find(&app, id).await
}

/// A client, or none.
#[utoipa::path(get, path = "/clients/{id}", tag = "Clients", operation_id = "client",
    params(("id" = String, Path, description = "client id")),
    responses((status = 200, body = Envelope<Objects<Client>>)))]
pub async fn one(Name(id): Name, app: State<App>) -> Result<Answer<Objects<Client>>, Fault> {
    find(&app, id).await
}

/// Ends the connection of a client. Its will is published.
#[utoipa::path(delete, path = "/clients/{id}", tag = "Clients", operation_id = "kick_client",
    params(("id" = String, Path, description = "client id")),
    responses((status = 200, body = Outcome<Done>, description = "112: it is not connected")))]
pub async fn kick(Name(id): Name, app: State<App>) -> Result<impl IntoResponse, Fault> {
    let kicked = app.ask(move |core| core.broker.kick(&id)).await?;
    kicked.map_err(Fault::of_client)?;
    Ok(DONE)
}

/// What is forgotten.
#[derive(Debug, ToSchema)]
#[schema(as = CleanAclCache)]
#[expect(dead_code, reason = "the cache of a client is cleaned as a whole")]
pub struct Cached {
    /// the topic the decision is about; all decisions about the client are forgotten
    topic: String,
}

impl Form for Cached {
    fn read(fields: &Fields) -> Cached {
        Cached {
            topic: fields.text("topic"),
        }
    }
}

/// Forgets what was decided about the rights of a client.
#[utoipa::path(put, path = "/clients/{id}/clean_acl_cache", tag = "Clients", operation_id = "clean_client_acl_cache",
    params(("id" = String, Path, description = "client id")), request_body = Cached,
    responses((status = 200, body = Outcome<Done>, description = "112: it is not connected")))]
pub async fn clean_acl_cache(
    Name(id): Name,
    app: State<App>,
    _: Body<Cached>,
) -> Result<impl IntoResponse, Fault> {
    let cleaned = app
        .ask(move |core| core.broker.clean_acl_cache_of(&id))
        .await?;
    cleaned.map_err(Fault::of_client)?;
    Ok(DONE)
}
