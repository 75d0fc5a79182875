//! Pages of clients and retained messages, and what is told of one of them.

use crate::net::{Client, Net};
use crate::packets::*;
use emqttd_broker::*;
