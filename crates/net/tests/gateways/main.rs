//! A toy gateway in front of a running broker: what holds for MQTT clients holds for virtual ones.
#![allow(clippy::unwrap_used)]

mod access;
mod flows;
mod life;
mod pressure;
mod world;
