//! What is asked.

use emqttd_plugin_sdk::{Access, Client};

/// About whom, and what the client wants to do.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// who asks
    pub client: &'a Client,
    /// when it is about coming in, and CONNECT had one
    pub password: Option<&'a [u8]>,
    /// when it is about a topic name (publish) or filter (subscribe)
    pub act: Option<(Access, &'a str)>,
}

impl<'a> Question<'a> {
    /// May the client come in?
    pub fn login(client: &'a Client, password: Option<&'a [u8]>) -> Question<'a> {
        Question {
            client,
            password,
            act: None,
        }
    }

    /// May the client do that?
    pub fn act(client: &'a Client, access: Access, topic: &'a str) -> Question<'a> {
        Question {
            client,
            password: None,
            act: Some((access, topic)),
        }
    }

    /// Its user name; `None` = CONNECT had none.
    pub fn username(&self) -> Option<&'a str> {
        self.client.username.as_deref()
    }
}
