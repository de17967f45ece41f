//! The API's envelope, pages and errors.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::response::Response;
use serde_json::{Value, json};

use crate::lab::script::Answer;

pub(super) type Fields = BTreeMap<String, String>;

pub(super) fn page(all: Vec<Value>, query: &Fields, usual: usize, most: usize) -> Response {
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

pub(super) fn success(result: Value) -> Response {
    reply(200, None, &envelope(Ok(()), result))
}

pub(super) fn error(status: u16, code: u64, message: &str) -> Response {
    reply(status, None, &envelope(Err((code, message)), Value::Null))
}

pub(super) fn envelope(outcome: Result<(), (u64, &str)>, result: Value) -> Value {
    let errors: Vec<Value> = outcome.err().iter().map(|(code, text)| json!({"code": code, "message": text})).collect();
    json!({"success": errors.is_empty(), "errors": errors, "messages": [], "result": result})
}

pub(super) fn reply(status: u16, retry_after: Option<&str>, body: &Value) -> Response {
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
