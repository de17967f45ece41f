//! The dialogues as data: what the client sends and what it expects, up to the point where TLS begins.

use crate::config::StartTls;

use super::reply::{Expect, Frame};

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Send(&'static [u8]),
    /// A text with the name that the handshake asks for in the place of `{name}`.
    Name(&'static str),
    Expect(Expect),
}

use Step::{Name, Send};

/// RFC 3207. The name of `.invalid` (RFC 2606) belongs to nobody, and no message follows that a policy could refuse.
const SMTP: &[Step] = &[
    code(&["220"], ""),
    Send(b"EHLO certd.invalid\r\n"),
    code(&["250"], "STARTTLS"),
    Send(b"STARTTLS\r\n"),
    code(&["220"], ""),
];

/// RFC 9051 section 6.2.1.
const IMAP: &[Step] = &[line("* OK", ""), Send(b"a STARTTLS\r\n"), line("a OK", "* ")];

/// RFC 2595 section 4.
const POP3: &[Step] = &[line("+OK", ""), Send(b"STLS\r\n"), line("+OK", "")];

/// RFC 5804 sections 1.7 and 2.2: the greeting lists capabilities, each in quotes.
const SIEVE: &[Step] = &[
    Step::Expect(Expect::Line { ok: "OK", past: "\"", offers: "\"STARTTLS\"" }),
    Send(b"STARTTLS\r\n"),
    line("OK", ""),
];

/// RFC 4511 section 4.14: an ExtendedRequest with the object identifier of StartTLS, as message 1.
const LDAP: &[Step] =
    &[Send(b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037"), Step::Expect(Expect::Frame(Frame::Ldap))];

/// RFC 6120 section 5.4.
const XMPP: &[Step] = &[
    Name(
        "<?xml version='1.0'?><stream:stream to='{name}' xmlns='jabber:client' \
         xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>",
    ),
    Step::Expect(Expect::Features),
    Send(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
    Step::Expect(Expect::Proceed),
];

const XMPP_SERVER: &[Step] = &[
    Name(
        "<?xml version='1.0'?><stream:stream to='{name}' xmlns='jabber:server' \
         xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>",
    ),
    Step::Expect(Expect::Features),
    Send(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
    Step::Expect(Expect::Proceed),
];

/// RFC 4217 section 4. A reply of several lines may have lines without the code (RFC 959 section 4.2).
const FTP: &[Step] = &[
    Step::Expect(Expect::Code { of: &["220"], offers: "", free_lines: true }),
    Send(b"AUTH TLS\r\n"),
    Step::Expect(Expect::Code { of: &["234"], offers: "", free_lines: true }),
];

/// RFC 4642 section 2.2.
const NNTP: &[Step] = &[code(&["200", "201"], ""), Send(b"STARTTLS\r\n"), code(&["382"], "")];

/// <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL>: SSLRequest, and one byte.
const POSTGRES: &[Step] = &[Send(b"\0\0\0\x08\x04\xd2\x16\x2f"), Step::Expect(Expect::Byte(b'S'))];

/// <https://mariadb.com/kb/en/connection/>: after the server's first packet an SSLRequest with the capabilities
/// CLIENT_PROTOCOL_41, CLIENT_SSL, CLIENT_SECURE_CONNECTION and CLIENT_PLUGIN_AUTH; TLS begins without an answer.
const MYSQL: &[Step] = &[
    Step::Expect(Expect::Frame(Frame::Mysql)),
    Send(b"\x20\0\0\x01\0\x8a\x08\0\0\0\0\x01\x2d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
];

/// Protocol::HandshakeResponse41, after TLS: a user that nobody has, without a password, by `mysql_native_password`.
pub(super) const MYSQL_LOGIN: &[u8] =
    b"\x3d\0\0\x02\0\x8a\x08\0\0\0\0\x01\x2d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0certd\0\0\
    mysql_native_password\0";

/// [MS-RDPBCGR] section 2.2.1.1: an X.224 Connection Request that offers TLS, with CredSSP after it and without.
const RDP: &[Step] =
    &[Send(b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x03\0\0\0"), Step::Expect(Expect::Frame(Frame::Rdp))];

/// <https://docs.nats.io/reference/reference-protocols/nats-protocol>: TLS begins after the server's first line, which
/// has a member `tls_required` or `tls_available` if it speaks it.
const NATS: &[Step] = &[Step::Expect(Expect::Line { ok: "INFO {", past: "", offers: "\"tls_" })];

const fn code(of: &'static [&'static str], offers: &'static str) -> Step {
    Step::Expect(Expect::Code { of, offers, free_lines: false })
}

const fn line(ok: &'static str, past: &'static str) -> Step {
    Step::Expect(Expect::Line { ok, past, offers: "" })
}

pub(super) fn of(protocol: StartTls) -> &'static [Step] {
    match protocol {
        StartTls::Smtp | StartTls::Submission => SMTP,
        StartTls::Imap => IMAP,
        StartTls::Pop3 => POP3,
        StartTls::Sieve => SIEVE,
        StartTls::Ldap => LDAP,
        StartTls::Xmpp => XMPP,
        StartTls::XmppServer => XMPP_SERVER,
        StartTls::Ftp => FTP,
        StartTls::Nntp => NNTP,
        StartTls::Postgres => POSTGRES,
        StartTls::Mysql => MYSQL,
        StartTls::Rdp => RDP,
        StartTls::Nats => NATS,
    }
}
