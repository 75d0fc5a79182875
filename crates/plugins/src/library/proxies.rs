//! What a library has registered, as the broker calls it.

use super::asked::{Asked, Question};
use super::{Instance, unreadable};
use emqttd_plugin_abi::Fault;
use emqttd_plugin_sdk::wire::{self, ClientParts, number, request, to_plugin};
use emqttd_plugin_sdk::{
    Access, AclAnswer, AuthAnswer, AuthMechanism, BoxFuture, Call, Client, ClientRef, DynAcl,
    DynAuth, Exchange, ExchangeStep, Flow, HookPoint, Hooks, HttpRequest, HttpResponse, Message,
    PipeEvents, Reply, TopicEntry, Verdict,
};
use std::panic::resume_unwind;
use std::sync::Arc;

/// Something in a library, by its number there.
pub(super) struct Far {
    pub instance: Arc<Instance>,
    pub number: u64,
}

impl DynAuth for Far {
    fn check(
        self: Arc<Self>,
        client: Arc<Client>,
        password: Option<Vec<u8>>,
    ) -> BoxFuture<AuthAnswer> {
        let question = Question::Auth(client, password);
        let asked = Asked::new(&self.instance, self.number, question);
        Box::pin(async move { number::auth(asked.await) })
    }
}

impl DynAcl for Far {
    fn check(
        self: Arc<Self>,
        client: Arc<Client>,
        access: Access,
        topic: String,
    ) -> BoxFuture<AclAnswer> {
        let question = Question::Acl(client, access, topic);
        let asked = Asked::new(&self.instance, self.number, question);
        Box::pin(async move { number::acl(asked.await) })
    }
}

/// A mechanism of enhanced authentication.
pub(super) struct FarMechanism {
    pub far: Far,
    pub method: String,
}

impl AuthMechanism for FarMechanism {
    fn method(&self) -> &str {
        &self.method
    }

    fn begin(&self, client: &Client) -> Box<dyn Exchange> {
        let Far { instance, number } = &self.far;
        let client = wire::encode(&ClientParts::from(client));
        let begun = instance.call(to_plugin::BEGIN, *number, &client, &[]);
        Box::new(FarExchange {
            far: Far {
                instance: Arc::clone(instance),
                // 0 is nothing: its first step fails.
                number: begun.map_or(0, |(number, _)| number),
            },
            proved: None,
        })
    }
}

struct FarExchange {
    far: Far,
    /// the user name, once it has succeeded
    proved: Option<String>,
}

impl Exchange for FarExchange {
    fn step(&mut self, data: &[u8]) -> ExchangeStep {
        let Far { instance, number } = &self.far;
        let step = match instance.call(to_plugin::STEP, *number, &[], data) {
            Some((step, data)) => number::step(step, &data),
            None => ExchangeStep::Fail,
        };
        if matches!(step, ExchangeStep::Success { .. }) {
            let op = to_plugin::PROVED;
            match instance.remote.call(op, *number, &[], &[]) {
                Ok((1, name)) => {
                    let name = wire::text(&name).unwrap_or_else(|_| unreadable(op));
                    self.proved = Some(name.to_string());
                }
                // It says nothing about that, or is older than the question.
                Ok(_) | Err(Fault::NotSupported) => {}
                Err(Fault::Panicked(text)) => resume_unwind(Box::new(text)),
                // Nobody comes in under a name that may be another's.
                Err(_) => return ExchangeStep::Fail,
            }
        }
        step
    }

    fn username(&self) -> Option<&str> {
        self.proved.as_deref()
    }
}

impl Drop for FarExchange {
    fn drop(&mut self) {
        let Far { instance, number } = &self.far;
        // What the library has dropped already needs no end.
        let _ = instance.remote.call(to_plugin::END, *number, &[], &[]);
    }
}

/// Callbacks at hook points.
pub(super) struct FarHooks {
    pub far: Far,
    pub points: u32,
}

impl FarHooks {
    fn run(
        &self,
        point: HookPoint,
        args: &[u8],
        body: &[u8],
    ) -> Option<(u64, emqttd_plugin_abi::Data)> {
        let op = op_of(point);
        self.far.instance.call(op, self.far.number, args, body)
    }

    fn of_client(&self, point: HookPoint, client: ClientRef<'_>, reason: Option<&str>) {
        let told = wire::encode(&request::OfClient {
            client: client.into(),
            table: Vec::new(),
            reason,
        });
        self.run(point, &told, &[]);
    }

    fn of_entry(&self, point: HookPoint, client: ClientRef<'_>, entry: &TopicEntry) {
        let told = wire::encode(&request::OfClient {
            client: client.into(),
            table: vec![entry.clone()],
            reason: None,
        });
        self.run(point, &told, &[]);
    }

    fn of_table(
        &self,
        point: HookPoint,
        client: ClientRef<'_>,
        table: &mut Vec<TopicEntry>,
    ) -> Flow {
        let mut told = request::OfClient {
            client: client.into(),
            table: std::mem::take(table),
            reason: None,
        };
        let bytes = wire::encode(&told);
        *table = std::mem::take(&mut told.table);
        match self.run(point, &bytes, &[]) {
            None | Some((number::NEXT, _)) => Flow::Next,
            Some((number::STOP, _)) => Flow::Stop,
            Some((number::NEXT_WITH, data)) => {
                *table = wire::decode(&data).unwrap_or_else(|_| unreadable(op_of(point)));
                Flow::Next
            }
            Some(_) => unreadable(op_of(point)),
        }
    }

    fn of_message(
        &self,
        point: HookPoint,
        message: &Message<'_>,
        client: Option<ClientRef<'_>>,
        reason: Option<&str>,
    ) -> Option<(u64, emqttd_plugin_abi::Data)> {
        let told = wire::encode(&request::OfMessage {
            message: message.into(),
            client: client.map(Into::into),
            reason,
        });
        self.run(point, &told, message.payload)
    }
}

fn op_of(point: HookPoint) -> u32 {
    to_plugin::HOOK + (point as u32).trailing_zeros()
}

impl Hooks for FarHooks {
    fn points(&self) -> u32 {
        self.points
    }

    fn client_connected(&self, client: &Client, connack: u8) {
        let client = client.into();
        let told = wire::encode(&request::Connected { client, connack });
        self.run(HookPoint::ClientConnected, &told, &[]);
    }

    fn client_disconnected(&self, client: &Client, reason: &str, code: Option<u8>) {
        let told = wire::encode(&request::Disconnected {
            client: client.into(),
            reason,
            code,
        });
        self.run(HookPoint::ClientDisconnected, &told, &[]);
    }

    fn client_subscribe(&self, client: ClientRef<'_>, table: &mut Vec<TopicEntry>) -> Flow {
        self.of_table(HookPoint::ClientSubscribe, client, table)
    }

    fn client_unsubscribe(&self, client: ClientRef<'_>, table: &mut Vec<TopicEntry>) -> Flow {
        self.of_table(HookPoint::ClientUnsubscribe, client, table)
    }

    fn session_created(&self, client: ClientRef<'_>) {
        self.of_client(HookPoint::SessionCreated, client, None);
    }

    fn session_subscribed(&self, client: ClientRef<'_>, entry: &TopicEntry) {
        self.of_entry(HookPoint::SessionSubscribed, client, entry);
    }

    fn session_unsubscribed(&self, client: ClientRef<'_>, entry: &TopicEntry) {
        self.of_entry(HookPoint::SessionUnsubscribed, client, entry);
    }

    fn session_terminated(&self, client: ClientRef<'_>, reason: &str) {
        self.of_client(HookPoint::SessionTerminated, client, Some(reason));
    }

    fn message_publish(&self, message: &Message<'_>) -> Verdict {
        let point = HookPoint::MessagePublish;
        match self.of_message(point, message, None, None) {
            None | Some((number::PASS, _)) => Verdict::Pass,
            Some((number::DROP, _)) => Verdict::Drop,
            Some((number::CHANGE, data)) => {
                let Ok((changed, payload)) = wire::decode_with::<request::Changed>(&data) else {
                    unreadable(op_of(point));
                };
                Verdict::Change(changed.with(payload))
            }
            Some(_) => unreadable(op_of(point)),
        }
    }

    fn message_delivered(&self, client: ClientRef<'_>, message: &Message<'_>) {
        self.of_message(HookPoint::MessageDelivered, message, Some(client), None);
    }

    fn message_acked(&self, client: ClientRef<'_>, message: &Message<'_>) {
        self.of_message(HookPoint::MessageAcked, message, Some(client), None);
    }

    fn message_dropped(&self, message: &Message<'_>, reason: &str) {
        self.of_message(HookPoint::MessageDropped, message, None, Some(reason));
    }
}

/// For what is called although the plugin has ended.
const ENDED: &str = "the plugin has ended";

impl Far {
    pub fn command(&self, call: Call<'_>) -> Reply {
        let words = wire::encode(&request::Words {
            args: call.args.to_vec(),
            stdin: call.stdin,
        });
        let op = to_plugin::COMMAND;
        match self.instance.call(op, self.number, &words, &[]) {
            Some((reply, text)) => number::reply(reply, &text).unwrap_or_else(|_| unreadable(op)),
            None => Reply::Failed(ENDED.into()),
        }
    }

    pub fn http(&self, request: &HttpRequest) -> HttpResponse {
        let op = to_plugin::HTTP;
        let args = wire::encode(request);
        let Some((_, data)) = self.instance.call(op, self.number, &args, &request.body) else {
            return HttpResponse {
                status: 503,
                content_type: "text/plain".into(),
                body: ENDED.into(),
            };
        };
        let (mut response, body) =
            wire::decode_with::<HttpResponse>(&data).unwrap_or_else(|_| unreadable(op));
        response.body = body.to_vec();
        response
    }

    pub fn reload(&self) -> Result<(), String> {
        let remote = &self.instance.remote;
        match remote.call(to_plugin::RELOAD, self.number, &[], &[]) {
            Ok(_) => Ok(()),
            Err(Fault::Failed(text)) => Err(text),
            Err(Fault::Panicked(text)) => resume_unwind(Box::new(text)),
            Err(_) => Err(ENDED.into()),
        }
    }
}

/// The plugin's end of a virtual connection.
pub(super) struct FarEvents(pub Far);

impl PipeEvents for FarEvents {
    fn output(&mut self, bytes: &[u8]) -> usize {
        let Far { instance, number } = &self.0;
        let taken = instance.call(to_plugin::OUTPUT, *number, &[], bytes);
        let taken = taken.map_or(0, |(taken, _)| usize::try_from(taken).unwrap_or(usize::MAX));
        taken.min(bytes.len())
    }

    fn room(&mut self) {
        let Far { instance, number } = &self.0;
        instance.call(to_plugin::ROOM, *number, &[], &[]);
    }

    fn closed(&mut self, reason: &str) {
        let Far { instance, number } = &self.0;
        instance.call(to_plugin::CLOSED, *number, &[], reason.as_bytes());
    }
}

impl Drop for FarEvents {
    fn drop(&mut self) {
        let Far { instance, number } = &self.0;
        let forget = to_plugin::FORGET_EVENTS;
        let _ = instance.remote.call(forget, *number, &[], &[]);
    }
}
