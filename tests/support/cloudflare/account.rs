//! What is behind the token, and what the API does with it.

use axum::response::Response;
use serde_json::{Value, json};

use super::answer::{Fields, envelope, error, page, reply, success};
use super::{Account, Record, Zone};
use crate::lab::pki::hex;
use crate::lab::run_id;

/// Operations in one batch, of a zone on the free plan.
const BATCH: usize = 200;

/// https://developers.cloudflare.com/dns/proxy-status/#record-types
const PROXIABLE: [&str; 3] = ["A", "AAAA", "CNAME"];

/// Status, code, message.
type Refused = (u16, u64, &'static str);

/// What a batch did.
pub(super) struct Batch {
    pub(super) deleted: Vec<Record>,
    pub(super) made: Vec<Record>,
    pub(super) shown: Value,
}

impl Account {
    /// 32 hex digits, never twice.
    pub(super) fn id(&mut self) -> String {
        self.next_id += 1;
        let mut id = hex(format!("{}{:08}", run_id(), self.next_id).as_bytes());
        id.split_off(id.len() - 32)
    }

    pub(super) fn zone_of(&self, name: &str) -> Option<String> {
        let inside = |zone: &&Zone| name == zone.name || name.ends_with(&format!(".{}", zone.name));
        self.zones.iter().filter(inside).max_by_key(|zone| zone.name.len()).map(|zone| zone.id.clone())
    }

    pub(super) fn refuse(&mut self, call: &str, authorization: Option<&str>) -> Option<Response> {
        if let Some(remaining) = &mut self.calls_left {
            if *remaining == 0 {
                let body = envelope(Err((971, "Please wait and consider throttling your request speed")), json!(null));
                return Some(reply(429, Some(&self.reopens_after.to_string()), &body));
            }
            *remaining -= 1;
        }
        let Some(value) = authorization else {
            return Some(error(400, 9106, "Missing X-Auth-Key, X-Auth-Email or Authorization headers"));
        };
        match value.strip_prefix("Bearer ") {
            None => Some(error(400, 6003, "Invalid request headers")),
            Some(token) if token == self.token && call == "verify" && self.account_token => {
                Some(error(401, 1000, "Invalid API Token"))
            }
            Some(token) if token == self.token && (self.token_status == "active" || call.ends_with("verify")) => None,
            Some(_) if call.ends_with("verify") => Some(error(401, 1000, "Invalid API Token")),
            Some(_) => Some(error(403, 9109, "Invalid access token")),
        }
    }

    /// "Ratelimit: List of service limit items, composed of the limit name, the remaining quota (r) and the time next
    /// window resets (t)."
    pub(super) fn show_quota(&self, response: &mut Response) {
        if let Some(left) = self.calls_left {
            let quota = format!("\"default\";r={left};t={}", self.reopens_after);
            response.headers_mut().insert("ratelimit", quota.parse().expect("it is a header's value"));
        }
    }

    /// A user's token, or an account's at its account.
    pub(super) fn verify(&self, account: Option<&str>) -> Response {
        let ours = account.is_none_or(|account| self.zones.iter().any(|zone| zone.account == account));
        if account.is_some() != self.account_token || !ours {
            return error(401, 1000, "Invalid API Token");
        }
        let mut result = json!({"id": "f".repeat(32), "status": self.token_status});
        if let Some(date) = &self.token_expiry {
            result["expires_on"] = json!(date);
        }
        success(result)
    }

    pub(super) fn list_zones(&self, query: &Fields) -> Response {
        let fits = |field: &str, value: &str| query.get(field).is_none_or(|wanted| wanted == value);
        let found = self
            .zones
            .iter()
            .filter(|zone| (!self.heeds_name || fits("name", &zone.name)) && fits("status", &zone.status));
        let found = found.filter(|zone| fits("account.id", &zone.account)).map(show_zone).collect();
        page(found, query, 20, 50)
    }

    pub(super) fn list_records(&self, zone: &Zone, query: &Fields) -> Response {
        let fits = |field: &str, value: &str| {
            let exact = query.get(&format!("{field}.exact")).or_else(|| query.get(field));
            exact.is_none_or(|wanted| wanted.trim_matches('"') == value)
        };
        let found = self.records.iter().filter(|r| r.zone == zone.id && fits("type", &r.kind) && fits("name", &r.name));
        let found =
            found.filter(|r| fits("content", &r.content) && fits("comment", r.comment.as_deref().unwrap_or("")));
        page(found.map(|record| self.show(record)).collect(), query, 100, 5_000_000)
    }

    pub(super) fn create(&mut self, zone: &Zone, body: &[u8]) -> Result<Record, (u64, &'static str)> {
        let body: Value = serde_json::from_slice(body).map_err(|_| (9207, "Request body is invalid."))?;
        self.make(zone, &body)
    }

    /// Deletes, then posts; all or none. (Patches and puts are not spoken.)
    pub(super) fn batch(&mut self, zone: &Zone, body: &[u8]) -> Result<Batch, Refused> {
        let body: Value = serde_json::from_slice(body).map_err(|_| (400, 9207, "Request body is invalid."))?;
        let list = |key: &str| body[key].as_array().cloned().unwrap_or_default();
        let (deletes, posts) = (list("deletes"), list("posts"));
        if deletes.len() + posts.len() > BATCH {
            // The limit is documented, its code is not.
            return Err((400, 1004, "DNS Validation Error: too many operations in one batch"));
        }
        let before = self.records.clone();
        let done = self.change(zone, &deletes, &posts);
        if done.is_err() {
            self.records = before;
        }
        let [deleted, made] = done?;
        let shown = |records: &[Record]| records.iter().map(|record| self.show(record)).collect::<Vec<_>>();
        let shown = json!({"deletes": shown(&deleted), "patches": [], "puts": [], "posts": shown(&made)});
        Ok(Batch { deleted, made, shown })
    }

    fn change(&mut self, zone: &Zone, deletes: &[Value], posts: &[Value]) -> Result<[Vec<Record>; 2], Refused> {
        let (mut deleted, mut made) = (Vec::new(), Vec::new());
        for delete in deletes {
            let ours = |record: &Record| record.zone == zone.id && Some(record.id.as_str()) == delete["id"].as_str();
            let at = self.records.iter().position(ours).ok_or((404, 81044, "Record does not exist."))?;
            deleted.push(self.records.remove(at));
        }
        for post in posts {
            made.push(self.make(zone, post).map_err(|(code, text)| (400, code, text))?);
        }
        Ok([deleted, made])
    }

    fn make(&mut self, zone: &Zone, body: &Value) -> Result<Record, (u64, &'static str)> {
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
        let proxied = PROXIABLE.contains(&kind.as_str()) && body["proxied"].as_bool().unwrap_or_default();
        let tags: Vec<String> =
            body["tags"].as_array().into_iter().flatten().filter_map(|tag| tag.as_str().map(Into::into)).collect();
        if tags.len() > self.tags_allowed {
            // Behind it: 9300, "DNS record has 1 tags, exceeding the quota of 0."
            return Err((1004, "DNS Validation Error"));
        }
        let settings = body["settings"].as_object().cloned().unwrap_or_default();
        let modified = format!("2026-01-01T00:00:00.{:06}Z", self.next_id);
        let record = Record { id, zone, kind, name, content, ttl, comment, proxied, tags, settings, modified };
        self.records.push(record.clone());
        Ok(record)
    }

    pub(super) fn show(&self, record: &Record) -> Value {
        let content = match &record.content {
            content if self.split => {
                let (a, b) = content.split_at(content.len() / 2);
                format!("\"{a}\" \"{b}\"")
            }
            content if self.quoted => format!("\"{content}\""),
            content => content.clone(),
        };
        json!({
            "id": record.id, "name": record.name, "type": record.kind, "content": content, "ttl": record.ttl,
            "proxiable": PROXIABLE.contains(&record.kind.as_str()), "proxied": record.proxied, "settings": record.settings, "meta": {}, "tags": record.tags, "comment": record.comment,
            "created_on": "2026-01-01T00:00:00.000000Z", "modified_on": record.modified,
        })
    }
}

pub(super) fn show_zone(zone: &Zone) -> Value {
    json!({
        "id": zone.id, "name": zone.name, "status": zone.status, "paused": zone.paused, "type": "full",
        "account": {"id": zone.account, "name": "lab"}, "permissions": ["#dns_records:edit", "#zone:read"],
    })
}
