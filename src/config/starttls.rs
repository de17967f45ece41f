//! Protocols that begin in plain text and change to TLS on request: their words in the configuration, and their ports.

use serde::{Deserialize, Serialize};

/// By the words of `openssl s_client -starttls`, where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StartTls {
    Smtp,
    /// SMTP at its other port.
    Submission,
    Imap,
    Pop3,
    /// ManageSieve.
    Sieve,
    Ldap,
    /// Between client and server.
    Xmpp,
    /// Between servers.
    XmppServer,
    Ftp,
    Nntp,
    Postgres,
    /// MariaDB, too.
    Mysql,
    Rdp,
    Nats,
}

impl StartTls {
    /// With the port that IANA lists.
    pub const ALL: [(&'static str, Self, u16); 14] = [
        ("smtp", Self::Smtp, 25),
        ("submission", Self::Submission, 587),
        ("imap", Self::Imap, 143),
        ("pop3", Self::Pop3, 110),
        ("sieve", Self::Sieve, 4190),
        ("ldap", Self::Ldap, 389),
        ("xmpp", Self::Xmpp, 5222),
        ("xmpp-server", Self::XmppServer, 5269),
        ("ftp", Self::Ftp, 21),
        ("nntp", Self::Nntp, 119),
        ("postgres", Self::Postgres, 5432),
        ("mysql", Self::Mysql, 3306),
        ("rdp", Self::Rdp, 3389),
        ("nats", Self::Nats, 4222),
    ];

    pub fn as_str(self) -> &'static str {
        Self::ALL[self as usize].0
    }

    pub fn port(self) -> u16 {
        Self::ALL[self as usize].2
    }

    /// The protocol whose port this is.
    pub fn at(port: u16) -> Option<Self> {
        Self::ALL.iter().find(|(_, _, own)| *own == port).map(|(_, protocol, _)| *protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_at_its_place_and_the_one_of_the_json() {
        for (place, (word, protocol, port)) in StartTls::ALL.into_iter().enumerate() {
            assert_eq!((protocol as usize, protocol.as_str(), protocol.port()), (place, word, port));
            assert_eq!(serde_json::to_value(protocol).unwrap(), word);
            assert_eq!(StartTls::at(port), Some(protocol));
        }
    }
}
