//! Is the record seen where the CA looks for it? With servers that lag, die, refuse or were delegated to, and without
//! port 53; by the binary, against Pebble and BIND.

use crate::lab;

use std::fs;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::process::Output;
use std::time::Duration;

use certd::dns::{Doh, Resolvers, texts};
use certd::http::{HttpOptions, Trust};

use lab::Lab;
use lab::name_servers::{
    CHALLENGE, ZONE, a_lag_burns_no_validation, add_server, assert_served, lab, printed, with_zones,
};
use lab::relay::Datagrams;
use lab::script::Point;

/// Nothing was asked of the CA that it could answer with a failure.
fn assert_unburnt(lab: &Lab, output: &Output, words: &str) {
    assert_eq!(output.status.code(), Some(5), "{}", printed(output));
    assert!(printed(output).contains(words), "{}", printed(output));
    assert_eq!(lab.proxy.script.count("challenge"), 0);
    assert!(lab.cloudflare.records().is_empty());
}

#[test]
fn d01_with_one_of_two_name_servers_lagging_by_5_s_no_validation_is_burnt() {
    a_lag_burns_no_validation(Duration::from_secs(5));
}

#[test]
fn d02_a_name_server_that_refuses_is_passed_over_and_named_or_waited_for_as_the_operator_says() {
    let lab = lab();
    let second = lab.second_name_server(&[], Duration::from_secs(0));
    add_server(&lab, &second, "");
    let output = lab.certd(&["renew"]);
    assert_served(&lab, &output);
    let passed = printed(&output);
    assert!(passed.contains("passed over, since they never answered: ") && passed.contains(&second.at.to_string()));
    assert!(passed.contains("Query Refused"), "{passed}");

    add_server(&lab, &second, "silent_servers = \"wait\"\ntimeout = \"30s\"");
    let challenges = lab.proxy.script.count("challenge");
    let output = lab.certd(&["renew", "--dry-run"]);
    assert!(printed(&output).contains("after 30 s not every name server shows"), "{}", printed(&output));
    assert_eq!(lab.proxy.script.count("challenge"), challenges);
}

#[test]
fn d02_a_dead_name_server_is_passed_over() {
    let lab = lab();
    let mut second = lab.second_name_server(&[ZONE.to_owned()], Duration::ZERO);
    add_server(&lab, &second, "");
    second.die();
    let output = lab.certd(&["renew"]);
    assert_served(&lab, &output);
    assert!(printed(&output).contains("passed over"), "{}", printed(&output));
}

#[test]
fn a_name_server_whose_address_nobody_knows_is_named_and_holds_nothing_up() {
    let lab = lab();
    if !lab.dns.is_standard_port() {
        return;
    }
    lab.dns.update(&format!("add {ZONE}. 1 NS nowhere.elsewhere.test."));
    lab.dns.update(&format!("add ns6.{ZONE}. 1 AAAA ::1"));
    lab.dns.update(&format!("add {ZONE}. 1 NS ns6.{ZONE}."));
    let resolvers = Resolvers::new(&[lab.dns.at], &[], Doh::default()).unwrap();
    let servers = lab.client.wait(async move { resolvers.authorities(CHALLENGE).await });
    let servers = servers.unwrap();
    let names: Vec<&str> = servers.iter().map(|server| server.name.as_str()).collect();
    assert_eq!(names, ["nowhere.elsewhere.test", "ns1.example.test", "ns6.example.test"]);
    let missing = servers[0].missing.as_deref().unwrap();
    assert!(missing.contains("nowhere.elsewhere.test: the resolvers do not answer: "), "{missing}");
    assert!(missing.contains("Query Refused"), "{missing}");
    // D13: a server with IPv6 alone is asked there.
    assert_eq!(servers[2].addresses, [SocketAddr::from((Ipv6Addr::LOCALHOST, 53))]);
}

#[test]
fn d05_a_chain_of_cnames_that_comes_at_once_is_followed_with_one_question_and_a_dname_too() {
    let lab = with_zones(&[ZONE, "proofs.test"]);
    for line in [
        "add _acme-challenge.newapi.example.test. 1 CNAME one.example.test.",
        "add one.example.test. 1 CNAME two.tree.example.test.",
        "add tree.example.test. 1 DNAME proofs.test.",
    ] {
        lab.dns.update(line);
    }
    let resolvers = Resolvers::new(&[lab.dns.at], &[], Doh::default()).unwrap();
    let followed = lab.client.wait(async move { (resolvers.follow(CHALLENGE).await, resolvers) });
    assert_eq!(followed.0.unwrap(), "two.proofs.test");
    // The zone came with the chain: nobody needs to be asked any more.
    lab.dns.datagrams.lose(true);
    lab.dns.silence_streams(true);
    let apex = lab.client.wait(async move { followed.1.apex("two.proofs.test").await });
    assert_eq!(apex.unwrap(), "proofs.test");
}

#[test]
fn d08_of_a_delegated_challenge_name_its_own_servers_are_asked() {
    let lab = with_zones(&[ZONE, CHALLENGE]);
    if !lab.dns.is_standard_port() {
        return;
    }
    // The resolver knows the child zone by a copy that nobody changes; the API publishes to the child's own server.
    let child = lab.second_name_server(&[CHALLENGE.to_owned()], Duration::from_secs(1));
    lab.dns.update(&format!("add child.{ZONE}. 1 A {}", child.at.ip()));
    // In the parent and in the copy of the child.
    lab.dns.update(&format!("zone {ZONE}\nadd {CHALLENGE}. 1 NS child.{ZONE}."));
    lab.dns.update(&format!("zone {CHALLENGE}\nadd {CHALLENGE}. 1 NS child.{ZONE}."));
    lab.dns.update(&format!("check-names off\nzone {CHALLENGE}\ndelete {CHALLENGE}. NS ns1.{CHALLENGE}."));
    lab.dns.hold();
    lab.configure("timeout = \"30s\"", "");
    let output = lab.certd(&["renew", "--dry-run"]);
    assert!(printed(&output).contains("a TXT record was created, seen and removed"), "{}", printed(&output));
    assert!(printed(&output).contains(&format!("waiting for child.{ZONE} ({})", child.at)), "{}", printed(&output));
}

#[test]
fn d09_a_wildcard_that_answers_at_the_name_is_not_taken_for_the_record() {
    let lab = lab();
    lab.dns.update(&format!("add *.newapi.{ZONE}. 1 TXT \"of the wildcard\""));
    lab.dns.delay(Duration::from_secs(2));
    lab.configure("", "");
    let output = lab.certd(&["renew"]);
    assert_served(&lab, &output);
    assert_eq!(lab.proxy.script.count("challenge"), 1);
}

#[test]
fn d10_what_the_ca_says_of_a_bogus_zone_is_shown() {
    let lab = lab();
    lab.configure("", "");
    let held = lab.proxy.script.hold("challenge", 1, Point::Before);
    let words =
        "DNS problem: looking up TXT for _acme-challenge.newapi.example.test: DNSSEC: Bogus: validation failure";
    let bogus = move |body: String| {
        let mut reply: serde_json::Value = serde_json::from_str(&body).unwrap();
        for challenge in reply["challenges"].as_array_mut().unwrap() {
            if challenge["status"] == "invalid" {
                challenge["error"] = serde_json::json!({"type": "urn:ietf:params:acme:error:dns", "detail": words});
            }
        }
        reply.to_string()
    };
    (1..=6).for_each(|nth| lab.proxy.script.rewrite("authorization", nth, bogus));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            held.wait();
            // Seen by us, gone when the CA looks.
            lab.dns.txt(CHALLENGE).iter().for_each(|value| lab.dns.remove_txt(CHALLENGE, value));
            held.release();
        });
        let output = lab.certd(&["renew"]);
        assert!(printed(&output).contains(words), "{}", printed(&output));
        assert_eq!(output.status.code(), Some(5), "{}", printed(&output));
    });
}

/// Nothing that is sent to port 53 is answered. The lab's configuration gets a resolver that hears and says nothing.
fn block_port_53(lab: &Lab) -> UdpSocket {
    lab.dns.datagrams.lose(true);
    lab.dns.silence_streams(true);
    let dead = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let at = dead.local_addr().expect("it is bound");
    lab.replace_line("resolvers", &format!("resolvers = [\"{at}\"]"));
    lab.replace_line("nameservers", "");
    dead
}

#[test]
fn d03_d12_where_port_53_is_blocked_doh_finds_the_zone_and_sees_the_record_though_one_server_remembers() {
    let lab = lab();
    // Its negative answers are good for a minute and a half, and it is asked for the name before the record is there.
    let (asked, fresh) = (lab.doh_server(), lab.doh_server());
    let doh = format!("doh = [\"{}\", \"{}\"]\ntimeout = \"45s\"", asked.url("127.0.0.1"), fresh.url("localhost"));
    lab.configure(&doh, &format!("ca_file = {:?}", lab.authority_file().display().to_string()));
    let _dead = block_port_53(&lab);
    let output = lab.certd(&["renew", "--dry-run"]);
    let text = printed(&output);
    assert!(text.contains("a TXT record was created, seen and removed"), "{text}");
    assert!(text.contains(&format!("no name server of {CHALLENGE} answers (is port 53 blocked?): asking ")), "{text}");
    let remembers = format!("{}: shows nothing (perhaps from memory)", asked.url("127.0.0.1"));
    assert!(text.contains(&remembers), "{text}");
    assert!(text.contains("passed over, since they never answered: ns1.example.test"), "{text}");
    assert!(lab.cloudflare.records().is_empty());
}

#[test]
fn d12_where_port_53_is_blocked_a_record_that_stays_is_seen_by_doh() {
    let lab = lab();
    lab.configure("", "");
    let record = "_validation-persist.newapi.example.test";
    lab.dns.add_txt(record, "pebble.letsencrypt.org; accounturi=https://ca.example/acct/1");
    let dead = block_port_53(&lab).local_addr().unwrap();
    let server = lab.doh_server();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let urls = [format!("https://{gone}/dns-query"), server.url("127.0.0.1")];
    let trust = Trust::Also(fs::read_to_string(lab.authority_file()).unwrap());
    let way = HttpOptions { proxy: None, trust };
    let look = |urls: &[String]| {
        let urls: Vec<_> = urls.iter().map(|url| url.parse().unwrap()).collect();
        let resolvers = Resolvers::new(&[dead], &[], Doh::new(&urls, way.clone())).unwrap();
        lab.client.wait(async move { texts(&resolvers, record).await })
    };
    let shown = look(&urls).unwrap();
    let value = "pebble.letsencrypt.org; accounturi=https://ca.example/acct/1".to_owned();
    assert_eq!(shown, [(urls[1].clone(), vec![value])]);
}

#[test]
fn d12_a_doh_server_that_answers_otherwise_than_with_a_dns_message_is_told_in_words() {
    let lab = lab();
    // Somebody else's answer: an id that is not 0, and no question.
    let foreign = [&[0x12, 0x34, 0x81, 0x80], &[0; 8][..]].concat();
    let message = "application/dns-message";
    for (status, kind, body, words) in [
        (200, "text/html; \u{e9}", b"<html>blocked</html>".to_vec(), "no DNS message but \"\""),
        (200, "text/html", b"<html>blocked</html>".to_vec(), "no DNS message but \"text/html\""),
        (200, message, vec![0; 70_000], "an answer that cannot be read"),
        (200, message, b"x".to_vec(), "an answer that cannot be read"),
        (200, message, foreign, "an answer that cannot be read"),
        (302, message, Vec::new(), "HTTP status 302"),
        (502, "text/html", Vec::new(), "HTTP status 502"),
    ] {
        let url = lab.strange_doh_server(status, kind, body);
        let trust = Trust::Also(fs::read_to_string(lab.authority_file()).unwrap());
        let way = HttpOptions { proxy: None, trust };
        let doh = Doh::new(&[url.parse().unwrap()], way);
        let dead = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let resolvers = Resolvers::new(&[dead], &[], doh).unwrap();
        let error = lab.client.wait(async move { resolvers.follow(CHALLENGE).await }).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.code().as_str(), "dns-lookup");
        assert!(text.contains(&format!("{url}: {words}")) && text.contains(&dead.to_string()), "{text}");
    }
    // A server whose certificate nobody vouches for is not heard.
    let server = lab.doh_server();
    let doh = Doh::new(&[server.url("127.0.0.1").parse().unwrap()], HttpOptions::default());
    let dead = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let resolvers = Resolvers::new(&[dead], &[], doh).unwrap();
    let error = lab.client.wait(async move { resolvers.follow(CHALLENGE).await }).unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[test]
fn d12_without_doh_a_blocked_port_53_is_told_and_nothing_is_asked_of_the_ca() {
    let lab = lab();
    lab.configure("doh = []\ntimeout = \"30s\"", "");
    let dead = block_port_53(&lab);
    let output = lab.certd(&["renew"]);
    let words = format!("the resolvers do not answer: {}: ", dead.local_addr().unwrap());
    assert_unburnt(&lab, &output, &words);
    assert_eq!(lab.proxy.script.count("new-order"), 0);
}

#[test]
fn d13_a_server_that_is_reached_by_ipv6_alone_shows_the_record() {
    let lab = lab();
    let at = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _relay = Datagrams::open(runtime.handle(), at, lab.dns.at);
    lab.configure("", "");
    lab.replace_line("nameservers", "");
    lab.replace_line("resolvers", &format!("resolvers = [\"{}\"]\nnameservers = [\"{at}\"]", lab.dns.at));
    let output = lab.certd(&["renew"]);
    assert_served(&lab, &output);
    runtime.shutdown_background();
}
