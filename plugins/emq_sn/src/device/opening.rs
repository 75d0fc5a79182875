//! CONNECT and the will.

use super::uplink::name;
use super::{After, Afterwards, Again, Asked, Device, Hello, State};
use crate::packet::{Packet, ReturnCode, WillTopic};
use crate::world::{Connect, Env, World};
use emqttd_plugin_sdk::QoS;
use emqttd_plugin_sdk::virtual_client::Will;

impl<C> Device<C> {
    /// The first CONNECT: asks for the will, or the broker.
    pub fn begin<W: World<Client = C>>(&mut self, env: &mut Env<'_, W>, hello: Hello<'_>) {
        match hello.flags.will() {
            true => self.ask(env, Asked::WillTopic),
            false => self.connect(env),
        }
    }

    fn connect<W: World<Client = C>>(&mut self, env: &mut Env<'_, W>) {
        self.asked = Asked::Nothing;
        self.state = State::Connecting;
        let connect = Connect {
            client_id: self.client_id.to_string(),
            clean: self.clean,
            will: self.effective_will(),
        };
        env.world.connect(env.key, &self.peer, connect);
    }

    fn effective_will(&self) -> Option<Will> {
        let will = self.will.as_deref().filter(|will| !will.topic.is_empty());
        will.cloned()
    }

    fn ask<W: World<Client = C>>(&mut self, env: &mut Env<'_, W>, what: Asked) {
        self.asked = what;
        self.asked_at = env.now;
        self.asked_tries = 0;
        self.repeat_question(env);
    }

    pub(super) fn repeat_question<W: World<Client = C>>(&self, env: &mut Env<'_, W>) {
        match self.asked {
            Asked::Nothing => {}
            Asked::WillTopic => env.world.send(&self.peer, &Packet::WillTopicReq),
            Asked::WillMsg => env.world.send(&self.peer, &Packet::WillMsgReq),
        }
    }

    /// Another CONNECT from where it is.
    pub fn connect_again<W: World<Client = C>>(
        &mut self,
        env: &mut Env<'_, W>,
        hello: Hello<'_>,
    ) -> Again {
        let same = *hello.client_id == *self.client_id;
        self.heard = env.now;
        match self.state {
            State::Opening => Again::Anew,
            State::Connecting => {
                let asked = self.afterwards.is_none() && same && self.duration == hello.duration;
                // If so, the answer is on its way.
                if !asked {
                    self.afterwards = Some(Box::new(Afterwards::Connects {
                        flags: hello.flags,
                        duration: hello.duration,
                        client_id: hello.client_id.into(),
                    }));
                }
                Again::Done
            }
            State::Active if !same || self.duration != hello.duration => self.refuse(env),
            State::Asleep | State::Waking | State::Awake if !same => self.refuse(env),
            State::Active => {
                self.begins_clean(hello);
                self.registry.clear();
                if let Some(downlink) = &mut self.downlink {
                    downlink.forget_ids();
                }
                self.greet(env, ReturnCode::ACCEPTED);
                if hello.flags.will() {
                    self.ask(env, Asked::WillTopic);
                }
                self.pump(env);
                Again::Done
            }
            State::Asleep | State::Waking | State::Awake => {
                self.begins_clean(hello);
                self.duration = hello.duration;
                self.state = State::Active;
                self.greet(env, ReturnCode::ACCEPTED);
                self.resend_and_pump(env);
                Again::Done
            }
        }
    }

    /// One that says it has no past numbers its messages from the beginning.
    fn begins_clean(&mut self, hello: Hello<'_>) {
        if hello.flags.clean() {
            self.received = Vec::new();
        }
    }

    fn refuse<W: World<Client = C>>(&mut self, env: &mut Env<'_, W>) -> Again {
        self.greet(env, ReturnCode::NOT_SUPPORTED);
        if let Some(client) = self.client.take() {
            env.world.abort(client, "protocol_error");
        }
        Again::Gone
    }

    fn greet<W: World<Client = C>>(&self, env: &mut Env<'_, W>, code: ReturnCode) {
        env.world.send(&self.peer, &Packet::ConnAck(code));
    }

    /// The broker has let it in, or not. Gives the connection back when it is not wanted any more.
    pub fn connected<W: World<Client = C>>(
        &mut self,
        env: &mut Env<'_, W>,
        outcome: Option<C>,
    ) -> After {
        match outcome {
            None => {
                self.greet(env, ReturnCode::CONGESTION);
                After::Gone
            }
            Some(client) => {
                self.client = Some(client);
                self.state = State::Active;
                self.heard = env.now;
                self.greet(env, ReturnCode::ACCEPTED);
                After::Stays
            }
        }
    }

    pub(super) fn on_will_topic<W: World<Client = C>>(
        &mut self,
        env: &mut Env<'_, W>,
        will: Option<WillTopic<'_>>,
    ) -> After {
        if self.asked == Asked::Nothing {
            if will.is_none() && self.will.is_none() {
                self.greet_again(env);
            }
            return After::Stays;
        }
        let Some(will) = will else {
            self.will = None;
            return self.will_is_known(env);
        };
        match self.put_will_topic(will) {
            true => {
                self.ask(env, Asked::WillMsg);
                After::Stays
            }
            // Later it keeps the will that it has.
            false if self.state == State::Opening => {
                self.greet(env, ReturnCode::NOT_SUPPORTED);
                After::Gone
            }
            false => {
                self.asked = Asked::Nothing;
                After::Stays
            }
        }
    }

    pub(super) fn on_will_msg<W: World<Client = C>>(
        &mut self,
        env: &mut Env<'_, W>,
        payload: &[u8],
    ) -> After {
        if self.asked != Asked::WillMsg {
            let known = self.will.as_deref().map(|will| &*will.payload);
            if self.asked == Asked::Nothing && known == Some(payload) {
                self.greet_again(env);
            }
            return After::Stays;
        }
        self.will_or_new().payload = payload.into();
        self.will_is_known(env)
    }

    fn will_is_known<W: World<Client = C>>(&mut self, env: &mut Env<'_, W>) -> After {
        self.asked = Asked::Nothing;
        match self.state {
            State::Opening => self.connect(env),
            _ => {
                self.update_will(env);
                // It had one before the questions, as EMQ answers; the specification has it behind them.
                self.greet_again(env);
            }
        }
        After::Stays
    }

    /// The client says the last word of its CONNECT: it has no CONNACK, or it was lost.
    fn greet_again<W: World<Client = C>>(&self, env: &mut Env<'_, W>) {
        if self.state == State::Active {
            self.greet(env, ReturnCode::ACCEPTED);
        }
    }

    fn will_or_new(&mut self) -> &mut Will {
        self.will.get_or_insert_with(|| {
            Box::new(Will {
                topic: String::new(),
                payload: Vec::new(),
                qos: QoS::AtMostOnce,
                retain: false,
            })
        })
    }

    /// Whether it is a topic name.
    fn put_will_topic(&mut self, asked: WillTopic<'_>) -> bool {
        let Some(topic) = name(asked.topic) else {
            return false;
        };
        let will = self.will_or_new();
        will.topic = topic.into();
        will.retain = asked.flags.retain();
        will.qos = QoS::from_u8(asked.flags.qos()).unwrap_or_default();
        true
    }

    fn update_will<W: World<Client = C>>(&mut self, env: &mut Env<'_, W>) {
        let will = self.effective_will();
        if let Some(client) = &self.client {
            env.world.set_will(client, will);
        }
    }

    pub(super) fn on_will_topic_upd<W: World<Client = C>>(
        &mut self,
        env: &mut Env<'_, W>,
        will: Option<WillTopic<'_>>,
    ) {
        let code = match will {
            None => {
                self.will = None;
                ReturnCode::ACCEPTED
            }
            Some(will) if self.put_will_topic(will) => ReturnCode::ACCEPTED,
            Some(_) => ReturnCode::NOT_SUPPORTED,
        };
        if code == ReturnCode::ACCEPTED {
            self.update_will(env);
        }
        env.world.send(&self.peer, &Packet::WillTopicResp(code));
    }

    pub(super) fn on_will_msg_upd<W: World<Client = C>>(
        &mut self,
        env: &mut Env<'_, W>,
        payload: &[u8],
    ) {
        self.will_or_new().payload = payload.into();
        self.update_will(env);
        let packet = Packet::WillMsgResp(ReturnCode::ACCEPTED);
        env.world.send(&self.peer, &packet);
    }
}
