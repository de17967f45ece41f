use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;

/// What the client sends in each step, and what the server answers. The first answer may come before anything is sent.
type Lines = &'static [(&'static [u8], &'static [u8])];

const XMPP_HEAD: &[u8] = b"<?xml version='1.0'?><stream:stream to='a.example.com' xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";
const XMPP_SERVER_HEAD: &[u8] = b"<?xml version='1.0'?><stream:stream to='a.example.com' xmlns='jabber:server' \
    xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";
const XMPP_ASKS: &[u8] = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const LDAP_ASKS: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
const PG_ASKS: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const RDP_ASKS: &[u8] = b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x03\0\0\0";
const MYSQL_ASKS: &[u8] = b"\x20\0\0\x01\0\x8a\x08\0\0\0\0\x01\x2d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
const MARIADB: &[u8] =
    b"\x5a\0\0\0\x0a5.5.5-10.11.19-MariaDB-0+deb12u1\0\x2a\0\0\0saltsalt\0\xfe\xff\x2d\x02\0\xff\xc1\x15\
    \0\0\0\0\0\0\x1d\0\0\0saltsaltsalt\0mysql_native";

/// Servers as they are, shortened: Postfix, Exim, Dovecot, Pigeonhole, slapd, Prosody, ProFTPD, INN, PostgreSQL, MariaDB,
/// xrdp and nats-server.
const GOOD: [(StartTls, Lines); 16] = [
    (
        StartTls::Smtp,
        &[
            (b"", b"220 mail.example.com ESMTP Postfix (Debian)\r\n"),
            (
                b"EHLO certd.invalid\r\n",
                b"250-mail.example.com\r\n250-SIZE 10240000\r\n250-STARTTLS\r\n250 CHUNKING\r\n",
            ),
            (b"STARTTLS\r\n", b"220 2.0.0 Ready to start TLS\r\n"),
        ],
    ),
    (
        StartTls::Submission,
        &[
            (b"", b"220-mail.example.com ESMTP\r\n220-No spam\r\n220\r\n"),
            (b"EHLO certd.invalid\r\n", b"250-hello\r\n250 starttls\r\n"),
            (b"STARTTLS\r\n", b"220 TLS go ahead\n"),
        ],
    ),
    (
        StartTls::Imap,
        &[
            (b"", b"* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] Dovecot ready.\r\n"),
            (b"a STARTTLS\r\n", b"* NOTICE of something\r\na OK Begin TLS negotiation now.\r\n"),
        ],
    ),
    (StartTls::Pop3, &[(b"", b"+OK Dovecot ready.\r\n"), (b"STLS\r\n", b"+OK Begin TLS negotiation now.\r\n")]),
    (
        StartTls::Sieve,
        &[
            (b"", b"\"IMPLEMENTATION\" \"Dovecot Pigeonhole\"\r\n\"STARTTLS\"\r\n\"VERSION\" \"1.0\"\r\nOK \"ready.\"\r\n"),
            (b"STARTTLS\r\n", b"OK \"Begin TLS negotiation now.\"\r\n"),
        ],
    ),
    (StartTls::Ldap, &[(LDAP_ASKS, b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\0\x04\0\x04\0")]),
    (
        StartTls::Ldap,
        &[(LDAP_ASKS, b"\x30\x84\0\0\0\x28\x02\x01\x01\x78\x84\0\0\0\x1f\x0a\x01\0\x04\0\x04\0\x8a\x161.3.6.1.4.1.1466.20037")],
    ),
    (
        StartTls::Xmpp,
        &[
            (
                XMPP_HEAD,
                b"<?xml version='1.0'?><stream:stream id='x' version='1.0'><stream:features><starttls \
                  xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>",
            ),
            (XMPP_ASKS, b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
        ],
    ),
    (
        StartTls::XmppServer,
        &[
            (XMPP_SERVER_HEAD, b"<stream:stream><stream:features><starttls/></stream:features>"),
            (XMPP_ASKS, b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'></proceed>"),
        ],
    ),
    (
        StartTls::Ftp,
        &[
            (b"", b"220-Welcome\r\nto this server\r\n 220 of ours\r\n220 ProFTPD Server (Debian)\r\n"),
            (b"AUTH TLS\r\n", b"234 AUTH TLS successful\r\n"),
        ],
    ),
    (StartTls::Nntp, &[(b"", b"200 news.example.com InterNetNews ready\r\n"), (b"STARTTLS\r\n", b"382 Begin TLS\r\n")]),
    (StartTls::Nntp, &[(b"", b"201 no posting\r\n"), (b"STARTTLS\r\n", b"382 Begin TLS\r\n")]),
    (StartTls::Postgres, &[(PG_ASKS, b"S")]),
    (StartTls::Mysql, &[(b"", MARIADB), (MYSQL_ASKS, b"")]),
    (StartTls::Rdp, &[(RDP_ASKS, b"\x03\0\0\x13\x0e\xd0\0\0\x12\x34\0\x02\0\x08\0\x01\0\0\0")]),
    (StartTls::Nats, &[(b"", b"INFO {\"server_id\":\"N\",\"tls_required\":true,\"proto\":1} \r\n")]),
];

/// Speaks with a server that answers `lines`, each in pieces of `piece` bytes, and then ends or, with `stays`, waits.
async fn dialogue(
    protocol: StartTls,
    lines: Vec<(Vec<u8>, Vec<u8>)>,
    piece: usize,
    stays: bool,
) -> Result<(), ProbeError> {
    let (mut ours, mut theirs) = duplex(4 * MOST);
    let server = tokio::spawn(async move {
        for (asked, answer) in lines {
            let mut got = vec![0; asked.len()];
            if theirs.read_exact(&mut got).await.is_err() {
                return;
            }
            assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(&asked), "{protocol:?}");
            for piece in answer.chunks(piece) {
                if theirs.write_all(piece).await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
        }
        if stays {
            // Until the client ends.
            let _ = theirs.read(&mut [0]).await;
        }
    });
    let name = DnsName::parse("a.example.com").unwrap();
    let spoken = speak(&mut ours, protocol, &name, protocol.port()).await;
    drop(ours);
    server.await.unwrap();
    spoken
}

fn owned(lines: Lines) -> Vec<(Vec<u8>, Vec<u8>)> {
    lines.iter().map(|(asked, answer)| (asked.to_vec(), answer.to_vec())).collect()
}

#[tokio::test]
async fn each_protocol_leads_to_tls_however_its_answers_are_cut_into_pieces() {
    for (protocol, lines) in GOOD {
        for piece in [1, 2, 3, 7, 4096] {
            assert_eq!(dialogue(protocol, owned(lines), piece, true).await, Ok(()), "{protocol:?}");
        }
    }
    let of_each = |protocol| GOOD.iter().any(|(tested, _)| *tested == protocol);
    assert!(StartTls::ALL.iter().all(|(_, protocol, _)| of_each(*protocol)));
}

#[tokio::test]
async fn plain_text_that_follows_an_answer_is_never_taken_for_the_next_one_or_into_tls() {
    for (protocol, lines) in GOOD {
        for (index, (_, answer)) in lines.iter().enumerate().filter(|(_, (_, answer))| !answer.is_empty()) {
            let mut lines = owned(&lines[..=index]);
            lines[index].1 = [*answer, &b"250 injected\r\n"[..]].concat();
            let error = dialogue(protocol, lines, 4096, true).await.unwrap_err();
            let part = "the server goes on in plain text after its answer: \"250 injected\"";
            assert!(matches!(&error, ProbeError::Tls(why) if why.contains(part)), "{protocol:?} {index}: {error}");
        }
    }
}

#[test]
fn the_login_that_ends_a_connection_with_mysql_is_one_packet() {
    let length = script::MYSQL_LOGIN.len() - 4;
    assert_eq!(script::MYSQL_LOGIN[..4], [u8::try_from(length).unwrap(), 0, 0, 2], "{length}");
}

#[tokio::test]
async fn an_answer_that_is_cut_short_anywhere_is_an_error_that_ends_the_dialogue() {
    for (protocol, lines) in GOOD {
        for (index, (_, answer)) in lines.iter().enumerate() {
            for length in 0..answer.len() {
                let mut lines = owned(&lines[..=index]);
                lines[index].1.truncate(length);
                let error = dialogue(protocol, lines, 4096, false).await;
                assert!(error.is_err(), "{protocol:?}, answer {index}, {length} bytes");
            }
        }
    }
}

#[tokio::test]
async fn a_server_that_never_ends_its_answer_is_not_read_for_ever() {
    for (protocol, begin, more) in [
        (StartTls::Smtp, &b"220-"[..], &b"x"[..]),
        (StartTls::Smtp, b"220-a\r\n", b"220-b\r\n"),
        (StartTls::Ftp, b"220-a\r\n", b"free text\r\n"),
        (StartTls::Imap, b"* OK ", b"y"),
        (StartTls::Sieve, b"\"IMPLEMENTATION\" \"x\"\r\n", b"\"A\"\r\n"),
        (StartTls::Nats, b"INFO {", b" "),
        (StartTls::Mysql, b"\xff\xff\xff\0\x0a", b"z"),
    ] {
        let mut answer = begin.to_vec();
        while answer.len() < 2 * MOST {
            answer.extend_from_slice(more);
        }
        let error = dialogue(protocol, vec![(Vec::new(), answer)], 512, true).await.unwrap_err();
        assert!(error.to_string().contains("more than any greeting has"), "{protocol:?}: {error}");
    }
    let mut endless = b"<?xml version='1.0'?>".to_vec();
    endless.resize(2 * MOST, b' ');
    let error = dialogue(StartTls::Xmpp, vec![(XMPP_HEAD.to_vec(), endless)], 512, true).await.unwrap_err();
    assert!(error.to_string().contains("more than any greeting has"), "{error}");
    let longest = b"\x30\x84\xff\xff\xff\xff\x02\x01\x01".to_vec();
    let error = dialogue(StartTls::Ldap, vec![(LDAP_ASKS.to_vec(), longest)], 512, false).await;
    assert!(error.is_err());
}

#[track_caller]
fn tls_failed(error: &Result<(), ProbeError>, part: &str) {
    assert!(matches!(error, Err(ProbeError::Tls(why)) if why.contains(part)), "{error:?} has no {part:?}");
}

#[track_caller]
fn unspoken(error: &Result<(), ProbeError>, part: &str) {
    assert!(matches!(error, Err(ProbeError::Unspoken(why)) if why.contains(part)), "{error:?} has no {part:?}");
}

const GREETING_OF_SMTP: (&[u8], &[u8]) = (b"", b"220 mail ESMTP\r\n");
const SMTP_OFFERS: (&[u8], &[u8]) = (b"EHLO certd.invalid\r\n", b"250-mail\r\n250 STARTTLS\r\n");

#[tokio::test]
async fn a_server_that_refuses_tls_is_reported_in_its_own_words() {
    let refused: [(StartTls, Lines, &str); 11] = [
        (
            StartTls::Smtp,
            &[GREETING_OF_SMTP, (b"EHLO certd.invalid\r\n", b"250-mail\r\n250 SIZE\r\n")],
            "the server offers no TLS",
        ),
        (
            StartTls::Smtp,
            &[GREETING_OF_SMTP, SMTP_OFFERS, (b"STARTTLS\r\n", b"454 4.7.0 TLS not available\x1b[2J\r\n")],
            "the server answers \"454 4.7.0 TLS not available\\u{1b}[2J\"",
        ),
        // It must not pass for the text of a reply.
        (
            StartTls::Smtp,
            &[GREETING_OF_SMTP, (b"EHLO certd.invalid\r\n", b"250-mail STARTTLS\r\nSTARTTLS\r\n250 SIZE\r\n")],
            "the server answers \"250-mail STARTTLS\"",
        ),
        (
            StartTls::Imap,
            &[(b"", b"* OK ready\r\n"), (b"a STARTTLS\r\n", b"a BAD no TLS\r\n")],
            "the server answers \"a BAD no TLS\"",
        ),
        (StartTls::Pop3, &[(b"", b"+OK\r\n"), (b"STLS\r\n", b"-ERR no\r\n")], "the server answers \"-ERR no\""),
        (StartTls::Sieve, &[(b"", b"\"IMPLEMENTATION\" \"x\"\r\nOK\r\n")], "offers no TLS"),
        (StartTls::Ldap, &[(LDAP_ASKS, b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x02\x04\0\x04\0")], "offers no TLS"),
        (
            StartTls::Xmpp,
            &[(XMPP_HEAD, b"<stream:stream><stream:features><bind/></stream:features>")],
            "the server offers no TLS",
        ),
        (StartTls::Postgres, &[(PG_ASKS, b"N")], "the server offers no TLS"),
        (StartTls::Nats, &[(b"", b"INFO {\"server_id\":\"N\"}\r\n")], "the server offers no TLS"),
        (StartTls::Rdp, &[(RDP_ASKS, b"\x03\0\0\x13\x0e\xd0\0\0\x12\x34\0\x03\0\x08\0\x02\0\0\0")], "offers no TLS"),
    ];
    for (protocol, lines, part) in refused {
        tls_failed(&dialogue(protocol, owned(lines), 4096, true).await, part);
    }
    let mut without = MARIADB.to_vec();
    let capabilities = without.windows(2).position(|pair| pair == [0xfe, 0xff]).unwrap();
    without[capabilities + 1] &= !0x08;
    let error = dialogue(StartTls::Mysql, vec![(Vec::new(), without)], 4096, true).await;
    tls_failed(&error, "the server offers no TLS");
}

#[tokio::test]
async fn another_protocol_is_no_fault_of_the_server() {
    let foreign: [(StartTls, &[u8], &str); 7] = [
        (StartTls::Smtp, b"* OK IMAP ready\r\n", "set `starttls = \"imap\"`"),
        (StartTls::Smtp, b"220 ProFTPD\r\n", "set `starttls = \"ftp\"`"),
        (StartTls::Imap, b"220 mail ESMTP\r\n", "set `starttls = \"smtp\"`"),
        (StartTls::Imap, b"\x15\x03\x03\0\x02\x02\x46", "leave `starttls` out"),
        (StartTls::Imap, b"HTTP/1.1 400 Bad Request\r\n", "it speaks HTTP"),
        (StartTls::Pop3, MARIADB, "set `starttls = \"mysql\"`"),
        (StartTls::Mysql, b"SSH-2.0-OpenSSH_9.2p1\r\n", "certd does not know what it speaks"),
    ];
    for (protocol, answer, part) in foreign {
        let spoken = dialogue(protocol, vec![(Vec::new(), answer.to_vec())], 4096, true).await;
        // It is a binary protocol: whether FTP is meant by 220 shows its text alone.
        if part.contains("ftp") {
            assert_eq!(plain::spoken(answer, 21), Some(Spoken::StartTls(StartTls::Ftp)));
            continue;
        }
        unspoken(&spoken, part);
    }
}

#[tokio::test]
async fn a_greeting_that_turns_certd_away_says_nothing_about_a_certificate() {
    let busy: [(StartTls, &[u8]); 9] = [
        (StartTls::Smtp, b"421 4.3.2 too busy\r\n"),
        (StartTls::Smtp, b"554 5.7.1 not from there\r\n"),
        (StartTls::Ftp, b"421 too many users\r\n"),
        (StartTls::Nntp, b"400 load at 16.67, try later\r\n"),
        (StartTls::Nntp, b"502 no permission\r\n"),
        (StartTls::Imap, b"* BYE overloaded\r\n"),
        (StartTls::Pop3, b"-ERR too many\r\n"),
        (StartTls::Mysql, b"\x17\0\0\0\xff\x10\x04Too many connections"),
        (
            StartTls::Mysql,
            b"\x48\0\0\0\xff\x6a\x04Host '192.0.2.1' is not allowed to connect to this MariaDB server ...",
        ),
    ];
    for (protocol, answer) in busy {
        let spoken = dialogue(protocol, vec![(Vec::new(), answer.to_vec())], 4096, true).await;
        let turned_away = matches!(&spoken, Err(ProbeError::TurnedAway(why)) if why.contains("turns certd away"));
        assert!(turned_away, "{protocol:?}: {spoken:?}");
    }
    // After the greeting it is the server's own trouble, such as a key that it cannot read.
    let lines = vec![
        (Vec::new(), b"220 mail ESMTP\r\n".to_vec()),
        (b"EHLO certd.invalid\r\n".to_vec(), b"250-mail\r\n250 STARTTLS\r\n".to_vec()),
        (b"STARTTLS\r\n".to_vec(), b"554 no\r\n".to_vec()),
    ];
    tls_failed(&dialogue(StartTls::Smtp, lines, 4096, true).await, "554 no");
}

#[test]
fn a_port_without_starttls_is_reported_with_the_setting_that_fits() {
    let of = |first: &[u8], closed, port| plain::instead_of_tls(first, closed, port).map(|error| error.to_string());
    for (first, port, text) in [
        (
            &b"220 mail ESMTP\r\n"[..],
            25,
            "port 25 answers in plain text (\"220 mail ESMTP\"): set `starttls = \"smtp\"` for it",
        ),
        (
            b"220 (vsFTPd 3.0.3)\r\n",
            21,
            "port 21 answers in plain text (\"220 (vsFTPd 3.0.3)\"): set `starttls = \"ftp\"` for it",
        ),
        (
            b"220 mail ESMTP\r\n",
            587,
            "port 587 answers in plain text (\"220 mail ESMTP\"): set `starttls = \"submission\"` for it",
        ),
        (b"* OK hi\n", 1143, "port 1143 answers in plain text (\"* OK hi\"): set `starttls = \"imap\"` for it"),
        (MARIADB, 3306, "port 3306 answers as mysql does, before TLS: set `starttls = \"mysql\"` for it"),
        (b"HTTP/1.1 400 Bad Request\r\n", 80, "port 80 answers in plain HTTP: probe the port of HTTPS"),
        (
            b"HTTP/1.1 400 Bad Request\r\n",
            443,
            "TLS failed: port 443 answers in plain HTTP, where TLS is expected from the first byte",
        ),
        (
            b"* OK hi\r\n",
            993,
            "TLS failed: port 993 answers in plain text (\"* OK hi\"), where TLS is expected from the first byte",
        ),
        (
            b"\x1b[2J hello",
            7777,
            "port 7777 answers without TLS, in a protocol that certd does not know (\"\\u{1b}[2J hello\"): probe a port of TLS",
        ),
        (b"", 5432, "port 5432 does not begin with TLS: set `starttls = \"postgres\"` for it"),
    ] {
        assert_eq!(of(first, true, port).as_deref(), Some(text));
    }
    assert_eq!(of(b"\x15\x03\x03\0\x02\x02\x28", false, 25), None, "an alert is TLS");
    assert_eq!(of(b"", true, 8443), None, "a server that hangs up shows nothing");
    assert_eq!(of(b"", false, 5432), None);
}
