//! `emq_sn`: MQTT-SN 1.2, byte by byte as EMQ answered, and with a client of others.

pub mod device;
mod flows;
mod hostile;
mod others;
mod sleep;
mod topics;
mod wills;
