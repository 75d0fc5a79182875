//! OpenLDAP.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::ops::Deref;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::Signal;

use super::instance::{Place, Server};
use super::ports::has_ipv6;
use super::{ADMIN_PASSWORD, PASSWORD, need, run};

/// The schema that EMQ 2.3 brought: class `mqttUser` with `username` and `password`.
const SCHEMA: &str = "\
attributetype ( 1.3.6.1.4.1.7914.1.2.1.1 NAME 'username'
  EQUALITY caseIgnoreIA5Match SUBSTR caseIgnoreIA5SubstringsMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.7914.1.2.1.2 NAME 'password'
  EQUALITY caseIgnoreIA5Match SUBSTR caseIgnoreIA5SubstringsMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 SINGLE-VALUE )
objectclass ( 1.3.6.1.4.1.7914.1.2.2.1 NAME 'mqttUser'
  SUP top STRUCTURAL
  MUST ( cn $ username $ password )
  MAY description )
";

const EXAMPLE: &str = "\
dn: dc=example,dc=com
objectClass: dcObject
objectClass: organization
o: example
dc: example

dn: ou=people,dc=example,dc=com
objectClass: organizationalUnit
ou: people

dn: cn=mqtt,dc=example,dc=com
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: mqtt
userPassword: PASSWORD
";

const EMQTT: &str = "\
dn: dc=emqtt,dc=com
objectClass: dcObject
objectClass: organization
o: emqtt
dc: emqtt

dn: ou=auth,dc=emqtt,dc=com
objectClass: organizationalUnit
ou: auth
";

/// An OpenLDAP with two trees:
/// - `dc=example,dc=com` with `ou=people`; [`Ldap::ADMIN`] may do everything, `cn=mqtt,dc=example,dc=com` with
///   password `mqttpw` may read what is no password, and everybody may bind and do the same;
/// - `dc=emqtt,dc=com` with `ou=auth`, for the class `mqttUser` of EMQ 2.3; `cn=root,dc=emqtt,dc=com` with
///   password `public` may do everything, as EMQ's file has it.
///
/// The plain port has StartTLS.
pub struct Ldap {
    server: Server,
}

impl Deref for Ldap {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Ldap {
    /// The administrator of `dc=example,dc=com`; its password is [`ADMIN_PASSWORD`].
    pub const ADMIN: &str = "cn=root,dc=example,dc=com";
    /// The administrator of `dc=emqtt,dc=com`; its password is `public`.
    pub const EMQTT_ADMIN: &str = "cn=root,dc=emqtt,dc=com";

    /// A new instance.
    pub fn start() -> Option<Ldap> {
        Ldap::start_with("")
    }

    /// With further global lines of `slapd.conf`, such as `idletimeout 1`.
    pub fn start_with(lines: &str) -> Option<Ldap> {
        let program = need("slapd", "slapd", &[])?;
        let slapadd = need("slapadd", "slapd", &[])?;
        need("ldapadd", "ldap-utils", &[])?;
        let place = Place::new("ldap", 2);
        place.certificates(None);
        fs::write(place.dir.join("mqtt.schema"), SCHEMA).unwrap();
        fs::write(place.dir.join("slapd.conf"), configuration(&place, lines)).unwrap();
        let conf = place.path("slapd.conf");
        for tree in ["example", "emqtt"] {
            fs::create_dir(place.dir.join(tree)).unwrap();
        }
        for (tree, ldif) in [("example", EXAMPLE), ("emqtt", EMQTT)] {
            let mut add = Command::new(&slapadd);
            add.args(["-q", "-f", &conf, "-b", &format!("dc={tree},dc=com")]);
            run(&mut add, &ldif.replace("PASSWORD", PASSWORD));
        }
        let (plain, tls) = (place.port(0), place.port(1));
        let mut urls = format!("ldap://127.0.0.1:{plain} ldaps://127.0.0.1:{tls}");
        if has_ipv6() {
            urls += &format!(" ldap://[::1]:{plain} ldaps://[::1]:{tls}");
        }
        let mut command = vec![program.to_str().unwrap().into()];
        command.extend(["-d", "0", "-f", &conf, "-h", &urls].map(String::from));
        Some(Ldap {
            server: place.start(command, Some(1), Signal::TERM, answers),
        })
    }

    /// The instance of this test process.
    pub fn shared() -> Option<&'static Ldap> {
        static SHARED: OnceLock<Option<Ldap>> = OnceLock::new();
        SHARED.get_or_init(Ldap::start).as_ref()
    }

    /// Adds entries; all in the same tree. An error of the server fails the test.
    #[track_caller]
    pub fn add(&self, ldif: &str) {
        run(&mut self.client("ldapadd", ldif), ldif);
    }

    /// Runs the changes of an LDIF, `changetype: modify` and so on.
    #[track_caller]
    pub fn modify(&self, ldif: &str) {
        run(&mut self.client("ldapmodify", ldif), ldif);
    }

    /// Removes an entry.
    #[track_caller]
    pub fn delete(&self, dn: &str) {
        run(self.client("ldapdelete", dn).arg(dn), "");
    }

    /// The entries below `base` that match, as LDIF.
    #[track_caller]
    pub fn search(&self, base: &str, filter: &str) -> String {
        let mut client = self.client("ldapsearch", base);
        run(client.args(["-LLL", "-b", base, filter]), "")
    }

    /// A client program, bound as the administrator of the tree that `text` names.
    fn client(&self, program: &str, text: &str) -> Command {
        let (admin, password) = if text.contains("dc=emqtt,dc=com") {
            (Ldap::EMQTT_ADMIN, "public")
        } else {
            (Ldap::ADMIN, ADMIN_PASSWORD)
        };
        let mut command = Command::new(program);
        let url = format!("ldap://127.0.0.1:{}", self.port());
        command.args(["-x", "-H", &url, "-D", admin, "-w", password]);
        command
    }
}

fn configuration(place: &Place, lines: &str) -> String {
    let mut text = String::new();
    for schema in ["core", "cosine", "inetorgperson"] {
        text += &format!("include /etc/ldap/schema/{schema}.schema\n");
    }
    let path = |name| place.path(name);
    text += &format!(
        "include {}\n\
         modulepath /usr/lib/ldap\n\
         moduleload back_mdb\n\
         pidfile {}\n\
         TLSCACertificateFile {}\n\
         TLSCertificateFile {}\n\
         TLSCertificateKeyFile {}\n\
         TLSVerifyClient try\n\
         {lines}\n\
         access to attrs=userPassword by self write by anonymous auth by * none\n\
         access to * by * read\n",
        path("mqtt.schema"),
        path("pid"),
        path("tls/ca.crt"),
        path("tls/server.crt"),
        path("tls/server.key"),
    );
    for (tree, password) in [("example", ADMIN_PASSWORD), ("emqtt", "public")] {
        text += &format!(
            "database mdb\n\
             suffix \"dc={tree},dc=com\"\n\
             rootdn \"cn=root,dc={tree},dc=com\"\n\
             rootpw {password}\n\
             directory {}\n\
             dbnosync\n\
             maxsize 268435456\n\
             index objectClass,uid,cn eq\n",
            path(tree),
        );
    }
    text
}

/// Asks for an anonymous bind; an answer to it is enough.
fn answers(server: &Server) -> bool {
    const BIND: &[u8] = &[
        0x30, 0x0c, 0x02, 0x01, 0x01, 0x60, 0x07, 0x02, 0x01, 0x03, 0x04, 0x00, 0x80, 0x00,
    ];
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())) else {
        return false;
    };
    let mut start = [0; 1];
    stream
        .set_read_timeout(Some(Duration::from_secs(1)))
        .is_ok()
        && stream.write_all(BIND).is_ok()
        && stream.read_exact(&mut start).is_ok()
        && start[0] == 0x30
}
