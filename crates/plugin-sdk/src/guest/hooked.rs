//! Hooks, called by the broker.

use crate::wire::{self, number, request};
use crate::{ClientRef, Flow, HookPoint, Hooks, TopicEntry, Verdict};
use emqttd_plugin_abi::{Call, Fault, Reply};

/// Runs the hook point with that number of its bit.
pub(super) fn run(hooks: &dyn Hooks, bit: u32, call: &Call<'_>) -> Result<Reply, Fault> {
    match point(bit) {
        Some(HookPoint::ClientConnected) => {
            let told: request::Connected<'_> = wire::decode(call.args)?;
            hooks.client_connected(&told.client.into(), told.connack);
        }
        Some(HookPoint::ClientDisconnected) => {
            let told: request::Disconnected<'_> = wire::decode(call.args)?;
            hooks.client_disconnected(&told.client.into(), told.reason, told.code);
        }
        Some(HookPoint::ClientSubscribe) => {
            return of_table(call, |client, table| hooks.client_subscribe(client, table));
        }
        Some(HookPoint::ClientUnsubscribe) => {
            return of_table(call, |client, table| {
                hooks.client_unsubscribe(client, table)
            });
        }
        Some(HookPoint::SessionCreated) => {
            let told: request::OfClient<'_> = wire::decode(call.args)?;
            hooks.session_created(told.client.into());
        }
        Some(HookPoint::SessionSubscribed) => {
            of_entry(call, |client, entry| {
                hooks.session_subscribed(client, entry)
            })?;
        }
        Some(HookPoint::SessionUnsubscribed) => {
            of_entry(call, |client, entry| {
                hooks.session_unsubscribed(client, entry)
            })?;
        }
        Some(HookPoint::SessionTerminated) => {
            let told: request::OfClient<'_> = wire::decode(call.args)?;
            hooks.session_terminated(told.client.into(), told.reason.unwrap_or_default());
        }
        Some(HookPoint::MessagePublish) => return publish(hooks, call),
        Some(HookPoint::MessageDelivered) => {
            let told: request::OfMessage<'_> = wire::decode(call.args)?;
            let client = told.client.ok_or(Fault::Malformed)?;
            hooks.message_delivered(client.into(), &told.message.with(call.body));
        }
        Some(HookPoint::MessageAcked) => {
            let told: request::OfMessage<'_> = wire::decode(call.args)?;
            let client = told.client.ok_or(Fault::Malformed)?;
            hooks.message_acked(client.into(), &told.message.with(call.body));
        }
        Some(HookPoint::MessageDropped) => {
            let told: request::OfMessage<'_> = wire::decode(call.args)?;
            let reason = told.reason.unwrap_or_default();
            hooks.message_dropped(&told.message.with(call.body), reason);
        }
        None => return Err(Fault::NotSupported),
    }
    Ok(Reply::default())
}

fn point(bit: u32) -> Option<HookPoint> {
    let points = [
        HookPoint::ClientConnected,
        HookPoint::ClientDisconnected,
        HookPoint::ClientSubscribe,
        HookPoint::ClientUnsubscribe,
        HookPoint::SessionCreated,
        HookPoint::SessionSubscribed,
        HookPoint::SessionUnsubscribed,
        HookPoint::SessionTerminated,
        HookPoint::MessagePublish,
        HookPoint::MessageDelivered,
        HookPoint::MessageAcked,
        HookPoint::MessageDropped,
    ];
    points
        .into_iter()
        .find(|point| 1u32.checked_shl(bit) == Some(*point as u32))
}

fn of_table(
    call: &Call<'_>,
    f: impl FnOnce(ClientRef<'_>, &mut Vec<TopicEntry>) -> Flow,
) -> Result<Reply, Fault> {
    let told: request::OfClient<'_> = wire::decode(call.args)?;
    let mut table = told.table.clone();
    if f(told.client.into(), &mut table) == Flow::Stop {
        return Ok(number::STOP.into());
    }
    if table == told.table {
        return Ok(number::NEXT.into());
    }
    Ok(Reply {
        value: number::NEXT_WITH,
        data: wire::encode(&table),
    })
}

fn of_entry(call: &Call<'_>, f: impl FnOnce(ClientRef<'_>, &TopicEntry)) -> Result<(), Fault> {
    let told: request::OfClient<'_> = wire::decode(call.args)?;
    f(
        told.client.into(),
        told.table.first().ok_or(Fault::Malformed)?,
    );
    Ok(())
}

fn publish(hooks: &dyn Hooks, call: &Call<'_>) -> Result<Reply, Fault> {
    let told: request::OfMessage<'_> = wire::decode(call.args)?;
    Ok(match hooks.message_publish(&told.message.with(call.body)) {
        Verdict::Pass => number::PASS.into(),
        Verdict::Drop => number::DROP.into(),
        Verdict::Change(change) => {
            let (changed, payload) = request::Changed::from_change(change);
            Reply {
                value: number::CHANGE,
                data: wire::encode_with(&changed, &payload),
            }
        }
    })
}
