//! A double of Cloudflare's API v4 that publishes into the lab's DNS.
//!
//! It has what a DNS-01 client calls: the token's verification, zones, and the records of a zone. It answers as the API
//! does: the envelope, the error codes, pages, and an answer to a change only when the change is made. Faults come from its
//! `Script`, whose kinds are `verify`, `zones`, `zone`, `records`, `create` and `delete`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Query, Request};
use axum::http::Uri;
use axum::response::Response;
use serde_json::{Value, json};

use super::dns::Dns;
use super::http::Engine;
use super::pki::hex;
use super::run_id;
use super::script::{Answer, Script};

type Fields = BTreeMap<String, String>;

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

#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub id: String,
    pub zone: String,
    pub kind: String,
    pub name: String,
    pub content: String,
    pub ttl: u64,
    pub comment: Option<String>,
}

/// What is behind the token.
pub struct Account {
    /// The one that is valid.
    pub token: String,
    /// RFC 3339, shown by the token's verification.
    pub token_expiry: Option<String>,
    pub zones: Vec<Zone>,
    pub records: Vec<Record>,
    /// TXT contents come back with quotes around them.
    pub quoted: bool,
    /// 81058 (identical record) or 81057 (record exists).
    pub duplicate_code: u64,
    /// After so many calls more, everything is refused with 429 and Retry-After; `None`: no limit.
    pub calls_left: Option<usize>,
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
            quoted: false,
            duplicate_code: 81058,
            token_expiry: None,
            calls_left: None,
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
        };
        state.records.push(record.clone());
        drop(state);
        self.publish(&record, true);
        record.id
    }

    async fn serve(self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let path: Vec<String> = parts.uri.path().split('/').skip(3).map(Into::into).collect();
        let segments: Vec<&str> = path.iter().map(String::as_str).collect();
        let method = parts.method.to_string();
        let call = match (method.as_str(), segments.as_slice()) {
            ("GET", ["user", "tokens", "verify"]) => "verify",
            ("GET", ["zones"]) => "zones",
            ("GET", ["zones", _]) => "zone",
            ("GET", ["zones", _, "dns_records"]) => "records",
            ("POST", ["zones", _, "dns_records"]) => "create",
            ("DELETE", ["zones", _, "dns_records", _]) => "delete",
            _ => "other",
        };
        let authorization = parts.headers.get("authorization").and_then(|value| value.to_str().ok()).map(String::from);
        let script = self.script.clone();
        let act = async move {
            let bytes = to_bytes(body, 1 << 20).await.unwrap_or_default();
            let task = move || self.call(call, &path, &parts.uri, authorization.as_deref(), &bytes);
            tokio::task::spawn_blocking(task).await.expect("the double carries a call out")
        };
        script.run(call, act).await
    }

    fn call(&self, call: &str, path: &[String], uri: &Uri, authorization: Option<&str>, body: &[u8]) -> Response {
        if let Some(refusal) = self.lock().refuse(call, authorization) {
            return refusal;
        }
        let Ok(Query(query)) = Query::<Fields>::try_from_uri(uri) else {
            return error(400, 6003, "Invalid request headers");
        };
        match call {
            "verify" => self.lock().verify(),
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
            (_, None) => error(404, 81044, "Record does not exist."),
            (_, Some(record)) => {
                state.records.retain(|other| other.id != record.id);
                drop(state);
                self.publish(&record, false);
                success(json!({"id": record.id}))
            }
        }
    }

    fn publish(&self, record: &Record, there: bool) {
        let zone = self.lock().zones.iter().find(|zone| zone.id == record.zone).map(|zone| zone.name.clone());
        if record.kind != "TXT" || !zone.is_some_and(|zone| self.dns.zones().contains(&zone)) {
            return;
        }
        if there {
            self.dns.add_txt(&record.name, &record.content);
        } else {
            self.dns.remove_txt(&record.name, &record.content);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Account> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

impl Account {
    /// 32 hex digits, never twice.
    fn id(&mut self) -> String {
        self.next_id += 1;
        let mut id = hex(format!("{}{:08}", run_id(), self.next_id).as_bytes());
        id.split_off(id.len() - 32)
    }

    fn zone_of(&self, name: &str) -> Option<String> {
        let inside = |zone: &&Zone| name == zone.name || name.ends_with(&format!(".{}", zone.name));
        self.zones.iter().filter(inside).max_by_key(|zone| zone.name.len()).map(|zone| zone.id.clone())
    }

    fn refuse(&mut self, call: &str, authorization: Option<&str>) -> Option<Response> {
        if let Some(remaining) = &mut self.calls_left {
            if *remaining == 0 {
                let body = envelope(Err((971, "Please wait and consider throttling your request speed")), json!(null));
                return Some(reply(429, Some("2"), &body));
            }
            *remaining -= 1;
        }
        let Some(value) = authorization else {
            return Some(error(400, 9106, "Missing X-Auth-Key, X-Auth-Email or Authorization headers"));
        };
        match value.strip_prefix("Bearer ") {
            None => Some(error(400, 6003, "Invalid request headers")),
            Some(token) if token == self.token => None,
            Some(_) if call == "verify" => Some(error(401, 1000, "Invalid API Token")),
            Some(_) => Some(error(403, 9109, "Invalid access token")),
        }
    }

    fn verify(&self) -> Response {
        let mut result = json!({"id": "f".repeat(32), "status": "active"});
        if let Some(date) = &self.token_expiry {
            result["expires_on"] = json!(date);
        }
        success(result)
    }

    fn list_zones(&self, query: &Fields) -> Response {
        let fits = |field: &str, value: &str| query.get(field).is_none_or(|wanted| wanted == value);
        let found = self.zones.iter().filter(|zone| fits("name", &zone.name) && fits("status", &zone.status));
        let found = found.filter(|zone| fits("account.id", &zone.account)).map(show_zone).collect();
        page(found, query, 20, 50)
    }

    fn list_records(&self, zone: &Zone, query: &Fields) -> Response {
        let fits = |field: &str, value: &str| {
            let exact = query.get(&format!("{field}.exact")).or_else(|| query.get(field));
            exact.is_none_or(|wanted| wanted.trim_matches('"') == value)
        };
        let found = self.records.iter().filter(|r| r.zone == zone.id && fits("type", &r.kind) && fits("name", &r.name));
        let found =
            found.filter(|r| fits("content", &r.content) && fits("comment", r.comment.as_deref().unwrap_or("")));
        page(found.map(|record| self.show(record)).collect(), query, 100, 5_000_000)
    }

    fn create(&mut self, zone: &Zone, body: &[u8]) -> Result<Record, (u64, &'static str)> {
        let body: Value = serde_json::from_slice(body).map_err(|_| (9207, "Request body is invalid."))?;
        let text = |field: &str| body[field].as_str().map(str::to_string).filter(|value| !value.is_empty());
        let kind = text("type").ok_or((9000, "DNS name is invalid."))?;
        let name = text("name").ok_or((9000, "DNS name is invalid."))?;
        let content = text("content").ok_or((9005, "Content for the record is invalid."))?;
        let ttl = body["ttl"].as_u64().unwrap_or(1);
        if ttl != 1 && !(60..=86_400).contains(&ttl) {
            return Err((9021, "Invalid TTL. Must be between 60 and 86400 seconds, or 1 for Automatic."));
        }
        let mut name = name.trim_end_matches('.').to_ascii_lowercase();
        if name != zone.name && !name.ends_with(&format!(".{}", zone.name)) {
            name = format!("{name}.{}", zone.name);
        }
        let content = content.trim_matches('"').to_string();
        if self.records.iter().any(|r| r.zone == zone.id && r.kind == kind && r.name == name && r.content == content) {
            return Err((self.duplicate_code, "An identical record already exists."));
        }
        let (id, zone, comment) = (self.id(), zone.id.clone(), text("comment"));
        let record = Record { id, zone, kind, name, content, ttl, comment };
        self.records.push(record.clone());
        Ok(record)
    }

    fn show(&self, record: &Record) -> Value {
        let content = if self.quoted { format!("\"{}\"", record.content) } else { record.content.clone() };
        json!({
            "id": record.id, "name": record.name, "type": record.kind, "content": content, "ttl": record.ttl,
            "proxiable": false, "proxied": false, "settings": {}, "meta": {}, "tags": [], "comment": record.comment,
            "created_on": "2026-01-01T00:00:00.000000Z", "modified_on": "2026-01-01T00:00:00.000000Z",
        })
    }
}

fn show_zone(zone: &Zone) -> Value {
    json!({
        "id": zone.id, "name": zone.name, "status": zone.status, "paused": zone.paused, "type": "full",
        "account": {"id": zone.account, "name": "lab"}, "permissions": ["#dns_records:edit", "#zone:read"],
    })
}

fn page(all: Vec<Value>, query: &Fields, usual: usize, most: usize) -> Response {
    let number = |field: &str, usual: usize| query.get(field).and_then(|n| n.parse().ok()).unwrap_or(usual).max(1);
    let (page, per_page) = (number("page", 1), number("per_page", usual).min(most));
    let total = all.len();
    let part: Vec<Value> = all.into_iter().skip((page - 1) * per_page).take(per_page).collect();
    let mut body = envelope(Ok(()), json!(part));
    body["result_info"] = json!({
        "page": page, "per_page": per_page, "count": part.len(), "total_count": total,
        "total_pages": total.div_ceil(per_page),
    });
    reply(200, None, &body)
}

fn success(result: Value) -> Response {
    reply(200, None, &envelope(Ok(()), result))
}

fn error(status: u16, code: u64, message: &str) -> Response {
    reply(status, None, &envelope(Err((code, message)), Value::Null))
}

fn envelope(outcome: Result<(), (u64, &str)>, result: Value) -> Value {
    let errors: Vec<Value> = outcome.err().iter().map(|(code, text)| json!({"code": code, "message": text})).collect();
    json!({"success": errors.is_empty(), "errors": errors, "messages": [], "result": result})
}

fn reply(status: u16, retry_after: Option<&str>, body: &Value) -> Response {
    let mut response = Response::builder().status(status).header("content-type", "application/json");
    if let Some(seconds) = retry_after {
        response = response.header("retry-after", seconds);
    }
    response.body(Body::from(body.to_string())).expect("the double's answer is valid HTTP")
}

impl Answer {
    /// A refusal as the API words it.
    pub fn api_error(status: u16, code: u64, message: &str) -> Self {
        Self::new(status, &envelope(Err((code, message)), Value::Null).to_string())
    }
}
