//! The exchange over the control socket: one line of JSON each way, then the connection ends.

use serde::{Deserialize, Serialize};

/// Longest request, bytes, line end included. Arguments are topics, identifiers and paths.
pub const MAX_REQUEST: u64 = 1024 * 1024;

/// What `emqttd_ctl` asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The words after `emqttd_ctl`, exactly as the shell passed them.
    pub argv: Vec<String>,
    /// What a command reads from standard input: a password, never an argument.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
}

/// What the broker answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Exit code of `emqttd_ctl`.
    pub exit: i32,
    /// Printed as it is; line ends are part of it.
    pub text: String,
}
