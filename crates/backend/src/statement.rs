//! SQL of the configuration, with variables as bound parameters.

use crate::{Question, Var};

/// How the server writes a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placeholder {
    /// `?` (MySQL)
    Question,
    /// `$1`, `$2` (PostgreSQL); one number for each place
    Dollar,
}

/// A query, and what is bound to its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// as the server takes it
    pub text: String,
    /// the variables, in the order of the parameters
    pub vars: Vec<Var>,
}

impl Statement {
    /// Makes parameters of `'%u'`, `'%c'` and `'%a'`, quotes included; all else stays as it is (sheet 8.2).
    pub fn parse(sql: &str, placeholder: Placeholder) -> Statement {
        let mut text = String::with_capacity(sql.len());
        let mut vars = Vec::new();
        let mut rest = sql.trim().trim_end_matches(';');
        while let Some(first) = rest.chars().next() {
            match quoted_var(rest) {
                Some(var) => {
                    vars.push(var);
                    match placeholder {
                        Placeholder::Question => text.push('?'),
                        Placeholder::Dollar => text += &format!("${}", vars.len()),
                    }
                    rest = &rest[4..];
                }
                None => {
                    text.push(first);
                    rest = &rest[first.len_utf8()..];
                }
            }
        }
        Statement { text, vars }
    }

    /// The values, in the order of the parameters; `None` = SQL's NULL.
    pub fn values(&self, question: &Question<'_>) -> Vec<Option<String>> {
        // All of them come from strings.
        let text = |var: &Var| {
            let value = var.value(question)?;
            Some(String::from_utf8_lossy(&value).into_owned())
        };
        self.vars.iter().map(text).collect()
    }
}

fn quoted_var(text: &str) -> Option<Var> {
    let inner = text.get(..4)?.strip_prefix('\'')?.strip_suffix('\'')?;
    Var::named(inner).filter(|var| matches!(var, Var::Username | Var::Clientid | Var::Peer))
}

#[cfg(test)]
mod tests {
    use super::*;
    use emqttd_plugin_sdk::testing::client;

    #[test]
    fn the_queries_of_the_seed() {
        let acl = "select allow, ipaddr, username, clientid, access, topic from mqtt_acl where ipaddr = '%a' or \
                   username = '%u' or username = '$all' or clientid = '%c'";
        let mysql = Statement::parse(acl, Placeholder::Question);
        assert!(
            mysql
                .text
                .ends_with("ipaddr = ? or username = ? or username = '$all' or clientid = ?")
        );
        assert_eq!(mysql.vars, [Var::Peer, Var::Username, Var::Clientid]);
        let twice = Statement::parse("select '%u', '%u' ;", Placeholder::Dollar);
        assert_eq!(twice.text, "select $1, $2 ");
        assert_eq!(twice.vars, [Var::Username, Var::Username]);
    }

    #[test]
    fn what_stays() {
        let sql = "select 'ü', '%u%', \"%u\", %u, '%t', '%P' from t where x like '%u'";
        let statement = Statement::parse(sql, Placeholder::Question);
        assert_eq!(statement.text, sql.replace("like '%u'", "like ?"));
    }

    #[test]
    fn values() {
        let statement = Statement::parse("'%c' '%u' '%a'", Placeholder::Question);
        let client = client("x' or '1'='1");
        let values = statement.values(&Question::login(&client, None));
        let text = |text: &str| Some(text.to_string());
        assert_eq!(values, [text("x' or '1'='1"), None, text("127.0.0.1")]);
    }
}
