//! `emqttd_ctl coap clients`.

use crate::clients::Client;
use emqttd_plugin_sdk::{Call, Context, Reply};
use std::fmt::Write;
use std::sync::mpsc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where to send a list of clients.
type Question = mpsc::Sender<String>;

/// The commands, as the task that has the sessions sees them.
pub struct Questions(UnboundedReceiver<Question>);

impl Questions {
    /// Adds the commands.
    pub fn new(ctx: &Context) -> Questions {
        let (ask, questions) = unbounded_channel::<Question>();
        let usage = [("coap clients", "CoAP clients, and what they do")];
        ctx.command("coap", &usage, move |call: Call<'_>| {
            if call.args != ["clients"] {
                return Reply::Usage;
            }
            let (sender, answer) = mpsc::channel();
            let asked = ask.send(sender).ok();
            match asked.and_then(|()| answer.recv_timeout(PATIENCE).ok()) {
                Some(text) => Reply::Text(text),
                None => Reply::Failed("the gateway does not answer".into()),
            }
        });
        Questions(questions)
    }

    /// Answers what is asked.
    pub fn poll<'a, I: Iterator<Item = &'a Client>>(
        &mut self,
        cx: &mut std::task::Context<'_>,
        clients: impl Fn() -> I,
    ) {
        while let Poll::Ready(Some(question)) = self.0.poll_recv(cx) {
            let mut rows: Vec<String> = clients().map(row).collect();
            rows.sort_unstable();
            // Who asked may have given up waiting.
            let _ = question.send(rows.concat());
        }
    }
}

fn row(client: &Client) -> String {
    let mut text = String::new();
    let (clientid, _) = &*client.owner;
    // A String takes everything.
    let _ = writeln!(
        text,
        "Client({}, peername={}, {}observations={}, received={}, sent={})",
        clientid.escape_debug(),
        client.endpoint.address(),
        if client.endpoint.is_secure() {
            "dtls, "
        } else {
            ""
        },
        client.observations,
        client.received,
        client.sent,
    );
    text
}
