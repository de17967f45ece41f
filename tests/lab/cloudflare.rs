//! Cloudflare's client against the API's double, BIND and Pebble: the rows C01 to C22 of what can go wrong there, and how
//! many requests an issuance takes.

mod addresses;
mod bench;
mod records;
mod requests;
mod token;
mod zones;
