//! Rows of `mqtt_acl` in an SQL database.

use crate::Question;
use emqttd_plugin_sdk::rule::{Net, Placeholders, TopicPattern};
use emqttd_plugin_sdk::{Access, AclAnswer};

/// A row: the columns of `acl_query` by their positions, as text; `None` = NULL.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    /// 1 = allow, 0 = deny
    pub allow: Option<String>,
    /// address or network; NULL or empty = any
    pub ipaddr: Option<String>,
    /// user name; NULL or empty = any; `$all` = everybody, whatever the next to it say
    pub username: Option<String>,
    /// client id; NULL or empty = any
    pub clientid: Option<String>,
    /// 1 = subscribe, 2 = publish, 3 = both
    pub access: Option<String>,
    /// topic filter, or `eq ` and a topic
    pub topic: Option<String>,
}

/// One row, understood.
#[derive(Debug)]
struct Rule {
    allow: bool,
    who: Who,
    publish: bool,
    subscribe: bool,
    topic: TopicPattern,
}

#[derive(Debug)]
enum Who {
    Everybody,
    /// all that are given must be the client's
    Each {
        net: Option<Net>,
        username: Option<String>,
        clientid: Option<String>,
    },
}

impl Row {
    /// Tries the rows from the last to the first, as EMQ did and what is published relies on; the first that
    /// matches decides. `odd` is told of rows that make no sense, which decide nothing.
    pub fn decide(
        rows: &[Row],
        question: &Question<'_>,
        access: Access,
        topic: &str,
        odd: impl Fn(&str),
    ) -> AclAnswer {
        for row in rows.iter().rev() {
            match row.rule() {
                Ok(rule) if rule.matches(question, access, topic) => {
                    return match rule.allow {
                        true => AclAnswer::Allow,
                        false => AclAnswer::Deny,
                    };
                }
                Ok(_) => {}
                Err(why) => odd(&format!("a row of the ACL is passed over: {why}")),
            }
        }
        AclAnswer::Ignore
    }

    fn rule(&self) -> Result<Rule, String> {
        let allow = match trimmed(&self.allow) {
            Some("1" | "t" | "true") => true,
            Some("0" | "f" | "false") => false,
            other => return Err(format!("allow is {}, not 1 or 0", shown(other))),
        };
        let (subscribe, publish) = match trimmed(&self.access) {
            Some("1") => (true, false),
            Some("2") => (false, true),
            Some("3") => (true, true),
            other => return Err(format!("access is {}, not 1, 2 or 3", shown(other))),
        };
        let topic = self.topic.as_deref().unwrap_or_default();
        let topic = match topic.strip_prefix("eq ") {
            Some(exact) => TopicPattern::exact(exact),
            None => TopicPattern::parse(topic, Placeholders::WholeLevel)
                .map_err(|error| format!("its topic {topic:?}: {error}"))?,
        };
        Ok(Rule {
            allow,
            who: self.who()?,
            publish,
            subscribe,
            topic,
        })
    }

    fn who(&self) -> Result<Who, String> {
        let given = |column: &Option<String>| column.clone().filter(|text| !text.is_empty());
        let username = given(&self.username);
        if username.as_deref() == Some("$all") {
            return Ok(Who::Everybody);
        }
        let clientid = given(&self.clientid);
        let net = match given(&self.ipaddr) {
            None => None,
            Some(text) => match Net::parse(text.trim()) {
                Some(net) => Some(net),
                None => return Err(format!("ipaddr {text:?} is no address")),
            },
        };
        if net.is_none() && username.is_none() && clientid.is_none() {
            return Err("ipaddr, username and clientid are all empty".into());
        }
        Ok(Who::Each {
            net,
            username,
            clientid,
        })
    }
}

impl Rule {
    fn matches(&self, question: &Question<'_>, access: Access, topic: &str) -> bool {
        let speaks = match access {
            Access::Publish => self.publish,
            Access::Subscribe => self.subscribe,
        };
        let client = question.client;
        let who = match &self.who {
            Who::Everybody => true,
            Who::Each {
                net,
                username,
                clientid,
            } => {
                net.is_none_or(|net| net.contains(client.peername.ip()))
                    && (username.is_none() || username.as_deref() == question.username())
                    && clientid.as_deref().is_none_or(|id| *id == *client.clientid)
            }
        };
        speaks && who && self.topic.matches(&client.by_name(), self.allow, topic)
    }
}

fn trimmed(column: &Option<String>) -> Option<&str> {
    column.as_deref().map(str::trim)
}

fn shown(column: Option<&str>) -> String {
    column.map_or("NULL".into(), |text| format!("{text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use emqttd_plugin_sdk::testing::client;
    use std::cell::Cell;

    /// allow, ipaddr, username, clientid, access, topic; empty = NULL.
    fn row(columns: [&str; 6]) -> Row {
        let [allow, ipaddr, username, clientid, access, topic] =
            columns.map(|text| Some(text.to_string()).filter(|text| !text.is_empty()));
        Row {
            allow,
            ipaddr,
            username,
            clientid,
            access,
            topic,
        }
    }

    fn decide(rows: &[[&str; 6]], access: Access, topic: &str) -> (AclAnswer, u32) {
        let rows: Vec<Row> = rows.iter().map(|columns| row(*columns)).collect();
        let mut client = client("c1");
        client.username = Some("u".into());
        let odd = Cell::new(0);
        let question = Question::act(&client, access, topic);
        let answer = Row::decide(&rows, &question, access, topic, |_| odd.set(odd.get() + 1));
        (answer, odd.get())
    }

    const SAMPLE: [[&str; 6]; 6] = [
        ["1", "", "$all", "", "2", "#"],
        ["0", "", "$all", "", "1", "$SYS/#"],
        ["0", "", "$all", "", "1", "eq #"],
        ["1", "127.0.0.1", "", "", "2", "$SYS/#"],
        ["1", "127.0.0.1", "", "", "2", "#"],
        ["1", "", "dashboard", "", "1", "$SYS/#"],
    ];

    #[test]
    fn the_rows_of_the_seed() {
        use Access::{Publish, Subscribe};
        use AclAnswer::{Allow, Deny, Ignore};
        for (access, topic, wanted) in [
            (Publish, "a/b", Allow),
            (Publish, "$SYS/x", Allow),
            (Subscribe, "$SYS/x", Deny),
            (Subscribe, "#", Deny),
            (Subscribe, "a/#", Ignore),
        ] {
            assert_eq!(decide(&SAMPLE, access, topic), (wanted, 0), "{topic}");
        }
    }

    #[test]
    fn the_last_row_counts() {
        let deny = ["0", "", "$all", "", "3", "#"];
        let allow = ["1", "", "u", "", "3", "a/#"];
        let ask = |rows: &[[&str; 6]], topic| decide(rows, Access::Publish, topic).0;
        assert_eq!(ask(&[deny, allow], "a/b"), AclAnswer::Allow);
        assert_eq!(ask(&[deny, allow], "c"), AclAnswer::Deny);
        assert_eq!(ask(&[allow, deny], "a/b"), AclAnswer::Deny);
        assert_eq!(ask(&[], "a/b"), AclAnswer::Ignore);
    }

    #[test]
    fn all_columns_that_are_set() {
        let ask = |row| decide(&[row], Access::Publish, "t").0;
        assert_eq!(
            ask(["1", "127.0.0.0/8", "u", "c1", "3", "t"]),
            AclAnswer::Allow
        );
        assert_eq!(
            ask(["1", "10.0.0.0/8", "u", "c1", "3", "t"]),
            AclAnswer::Ignore
        );
        assert_eq!(ask(["1", "", "u", "c2", "3", "t"]), AclAnswer::Ignore);
        assert_eq!(ask(["1", "", "v", "c1", "3", "t"]), AclAnswer::Ignore);
        assert_eq!(
            ask(["1", "10.0.0.1", "$all", "c2", "3", "t"]),
            AclAnswer::Allow
        );
    }

    #[test]
    fn rows_that_make_no_sense() {
        for bad in [
            ["", "", "u", "", "3", "#"],
            ["2", "", "u", "", "3", "#"],
            ["1", "", "u", "", "4", "#"],
            ["1", "", "u", "", "", "#"],
            ["1", "", "u", "", "3", ""],
            ["1", "", "u", "", "3", "a/#/b"],
            ["1", "", "", "", "3", "#"],
            ["1", "nowhere", "", "", "3", "#"],
        ] {
            let behind = ["0", "", "$all", "", "3", "#"];
            assert_eq!(
                decide(&[behind, bad], Access::Publish, "t"),
                (AclAnswer::Deny, 1),
                "{bad:?}"
            );
        }
    }
}
