//! A double of Cloudflare's API v4 that publishes into the lab's DNS.
//!
//! It has what a DNS-01 client calls: the token's verification, zones, and the records of a zone. It answers as the API
//! does: the envelope, the error codes, pages, and an answer to a change only when the change is made. Faults come from its
//! `Script`, whose kinds are `verify`, `account-verify`, `zones`, `zone`, `records`, `create`, `batch` and `delete`.

mod account;
mod answer;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Query, Request};
use axum::http::Uri;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::dns::Dns;
use super::http::Engine;
use super::script::Script;
use account::{Batch, show_zone};
use answer::{Fields, error, success};

#[derive(Clone, Debug)]
pub struct Zone {
    pub id: String,
    pub name: String,
    /// `active`, `pending`, …
    pub status: String,
    pub paused: bool,
    pub account: String,
    /// False: the token may read its records' names nowhere and change nothing (403, code 10000).
    pub permitted: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    pub id: String,
    pub zone: String,
    pub kind: String,
    pub name: String,
    pub content: String,
    pub ttl: u64,
    pub comment: Option<String>,
    /// Of address records and CNAMEs alone.
    pub proxied: bool,
    pub tags: Vec<String>,
    pub settings: Map<String, Value>,
    /// RFC 3339; a test that changes a record changes this, too.
    pub modified: String,
}

/// What is behind the token.
pub struct Account {
    /// The one that is valid.
    pub token: String,
    /// RFC 3339, shown by the token's verification.
    pub token_expiry: Option<String>,
    /// `active`, `disabled`, `expired`; any but the first is refused everywhere but in the verification.
    pub token_status: String,
    /// It belongs to the account, and is verified there.
    pub account_token: bool,
    /// False: it may edit records and not read zones.
    pub zone_read: bool,
    /// False: a list of zones is of all of them, whatever name was asked for.
    pub heeds_name: bool,
    pub zones: Vec<Zone>,
    pub records: Vec<Record>,
    /// Of a record, by the zone's plan: 0 on the free one, 20 on others.
    pub tags_allowed: usize,
    /// TXT contents come back with quotes around them.
    pub quoted: bool,
    /// … and in two strings.
    pub split: bool,
    /// 81058 (identical record) or 81057 (record exists).
    pub duplicate_code: u64,
    /// After so many calls more, everything is refused with 429 and Retry-After; `None`: no limit.
    pub calls_left: Option<usize>,
    /// Seconds, as in Retry-After, from then until the limit is lifted.
    pub reopens_after: u64,
    reopening: bool,
    next_id: u64,
}

#[derive(Clone)]
pub struct Cloudflare {
    pub at: SocketAddr,
    pub script: Script,
    state: Arc<Mutex<Account>>,
    dns: Arc<Dns>,
}

impl Cloudflare {
    pub fn start(engine: &Engine, ip: IpAddr, dns: Arc<Dns>, token: &str) -> Self {
        let account = Account {
            token: token.into(),
            zones: Vec::new(),
            records: Vec::new(),
            tags_allowed: 20,
            quoted: false,
            split: false,
            duplicate_code: 81058,
            token_expiry: None,
            token_status: "active".into(),
            account_token: false,
            zone_read: true,
            heeds_name: true,
            calls_left: None,
            reopens_after: 2,
            reopening: false,
            next_id: 1,
        };
        let at = SocketAddr::new(ip, 0);
        let mut double = Self { at, script: Script::default(), state: Arc::new(Mutex::new(account)), dns };
        double.dns.zones().to_vec().iter().for_each(|zone| _ = double.add_zone(zone));
        let server = double.clone();
        double.at = engine.serve(ip, Router::new().fallback(move |request: Request| server.clone().serve(request)));
        double
    }

    /// What `api_base` is to be.
    pub fn base(&self) -> String {
        format!("http://{}/client/v4", self.at)
    }

    /// Another zone of the account; it is listed, and published only if named has it too. Returns its id.
    pub fn add_zone(&self, name: &str) -> String {
        let mut state = self.lock();
        let id = state.id();
        let zone = Zone {
            id: id.clone(),
            name: name.into(),
            status: "active".into(),
            paused: false,
            account: "1".repeat(32),
            permitted: true,
        };
        state.zones.push(zone);
        id
    }

    /// Looks at what the account holds, or changes it.
    pub fn with<T>(&self, change: impl FnOnce(&mut Account) -> T) -> T {
        change(&mut self.lock())
    }

    pub fn records(&self) -> Vec<Record> {
        self.lock().records.clone()
    }

    /// A TXT record that someone else made, published. Returns its id.
    pub fn add_txt(&self, name: &str, content: &str, comment: Option<&str>) -> String {
        let mut state = self.lock();
        let zone = state.zone_of(name).expect("a name in one of the zones");
        let record = Record {
            id: state.id(),
            zone,
            kind: "TXT".into(),
            name: name.into(),
            content: content.into(),
            ttl: 60,
            comment: comment.map(Into::into),
            ..Record::default()
        };
        state.records.push(record.clone());
        drop(state);
        self.publish(&record, true);
        record.id
    }

    /// A record of an address that someone else made. It is not published: what named shows is the test's to say, until
    /// the API is told to remove it.
    pub fn add_address(&self, name: &str, address: IpAddr, proxied: bool) {
        let mut state = self.lock();
        let zone = state.zone_of(name).expect("a name in one of the zones");
        let kind = if address.is_ipv4() { "A" } else { "AAAA" };
        let (id, kind, name, content) = (state.id(), kind.into(), name.into(), address.to_string());
        state.records.push(Record { id, zone, kind, name, content, ttl: 1, proxied, ..Record::default() });
    }

    async fn serve(self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let path: Vec<String> = parts.uri.path().split('/').skip(3).map(Into::into).collect();
        let segments: Vec<&str> = path.iter().map(String::as_str).collect();
        let method = parts.method.to_string();
        let call = match (method.as_str(), segments.as_slice()) {
            ("GET", ["user", "tokens", "verify"]) => "verify",
            ("GET", ["accounts", _, "tokens", "verify"]) => "account-verify",
            ("GET", ["zones"]) => "zones",
            ("GET", ["zones", _]) => "zone",
            ("GET", ["zones", _, "dns_records"]) => "records",
            ("POST", ["zones", _, "dns_records"]) => "create",
            ("POST", ["zones", _, "dns_records", "batch"]) => "batch",
            ("DELETE", ["zones", _, "dns_records", _]) => "delete",
            _ => "other",
        };
        let authorization = parts.headers.get("authorization").and_then(|value| value.to_str().ok()).map(String::from);
        let script = self.script.clone();
        let act = async move {
            let bytes = to_bytes(body, 1 << 20).await.unwrap_or_default();
            let task = move || {
                let mut response = self.call(call, &path, &parts.uri, authorization.as_deref(), &bytes);
                self.lock().show_quota(&mut response);
                response
            };
            tokio::task::spawn_blocking(task).await.expect("the double carries a call out")
        };
        script.run(call, act).await
    }

    fn call(&self, call: &str, path: &[String], uri: &Uri, authorization: Option<&str>, body: &[u8]) -> Response {
        let refusal = self.lock().refuse(call, authorization);
        self.reopen();
        if let Some(refusal) = refusal {
            return refusal;
        }
        let Ok(Query(query)) = Query::<Fields>::try_from_uri(uri) else {
            return error(400, 6003, "Invalid request headers");
        };
        match call {
            "verify" => self.lock().verify(None),
            "account-verify" => self.lock().verify(Some(&path[1])),
            "zones" | "zone" if !self.lock().zone_read => error(403, 9109, "Unauthorized to access requested resource"),
            "zones" => self.lock().list_zones(&query),
            "other" => error(404, 7000, "No route for that URI"),
            _ => self.in_zone(call, path, &query, body),
        }
    }

    fn in_zone(&self, call: &str, path: &[String], query: &Fields, body: &[u8]) -> Response {
        let mut state = self.lock();
        let id = path[1].as_str();
        if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let text = format!("Could not route to /client/v4/zones/{id}, perhaps your object identifier is invalid?");
            return error(404, 7003, &text);
        }
        let Some(zone) = state.zones.iter().find(|zone| zone.id == id && zone.permitted).cloned() else {
            return error(403, 10000, "Authentication error");
        };
        let record =
            path.get(3).and_then(|id| state.records.iter().find(|r| r.id == *id && r.zone == zone.id)).cloned();
        match (call, record) {
            ("zone", _) => success(show_zone(&zone)),
            ("records", _) => state.list_records(&zone, query),
            ("create", _) => match state.create(&zone, body) {
                Ok(record) => {
                    let shown = state.show(&record);
                    drop(state);
                    self.publish(&record, true);
                    success(shown)
                }
                Err((code, text)) => error(400, code, text),
            },
            ("batch", _) => match state.batch(&zone, body) {
                Ok(Batch { deleted, made, shown }) => {
                    drop(state);
                    deleted.iter().for_each(|record| self.publish(record, false));
                    made.iter().for_each(|record| self.publish(record, true));
                    success(shown)
                }
                Err((status, code, text)) => error(status, code, text),
            },
            (_, None) => error(404, 81044, "Record does not exist."),
            (_, Some(record)) => {
                state.records.retain(|other| other.id != record.id);
                drop(state);
                self.publish(&record, false);
                success(json!({"id": record.id}))
            }
        }
    }

    /// Five minutes in the real API.
    fn reopen(&self) {
        let mut state = self.lock();
        if state.calls_left != Some(0) || state.reopening {
            return;
        }
        state.reopening = true;
        let (double, wait) = (self.clone(), Duration::from_secs(state.reopens_after));
        tokio::runtime::Handle::current().spawn(async move {
            tokio::time::sleep(wait).await;
            double.with(|account| (account.calls_left, account.reopening) = (None, false));
        });
    }

    fn publish(&self, record: &Record, there: bool) {
        let zone = self.lock().zones.iter().find(|zone| zone.id == record.zone).map(|zone| zone.name.clone());
        if !["A", "AAAA", "TXT"].contains(&record.kind.as_str())
            || !zone.is_some_and(|zone| self.dns.zones().contains(&zone))
        {
            return;
        }
        if record.kind != "TXT" {
            self.dns.publish_address(&record.name, &record.kind, &record.content, there);
        } else if there {
            self.dns.add_txt(&record.name, &record.content);
        } else {
            self.dns.remove_txt(&record.name, &record.content);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Account> {
        self.state.lock().expect("no holder of this lock panics")
    }
}
