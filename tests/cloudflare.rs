//! Cloudflare's client against the API's double, BIND and Pebble: the rows C01 to C20 of what can go wrong there, and how
//! many requests an issuance takes.

mod lab;

#[path = "cloudflare/bench.rs"]
mod bench;
#[path = "cloudflare/records.rs"]
mod records;
#[path = "cloudflare/requests.rs"]
mod requests;
#[path = "cloudflare/token.rs"]
mod token;
#[path = "cloudflare/zones.rs"]
mod zones;
