//! A01, over and over: three nonces in ten are refused, and each issuance is one order and one certificate all the same.

use super::SERVICE;
use super::bench::Bench;
use super::config::ConfigText;
use super::pebble::PebbleOptions;

#[allow(clippy::print_stdout, reason = "the figures of `make soak`")]
pub(crate) fn in_a_row(count: usize) {
    let pebble = PebbleOptions { nonce_reject: 30, ..PebbleOptions::default() };
    let bench = Bench::with(pebble, &[SERVICE], &ConfigText::default());
    for number in 1..=count {
        bench.issue().unwrap_or_else(|failure| panic!("issuance {number}: {failure:?}"));
    }
    let log = bench.lab.pebble.log();
    let refused = log.matches("badNonce").count().max(log.matches("JWS has an invalid anti-replay nonce").count());
    let orders = log.matches("Added order ").count();
    println!("{count} issuances: {orders} orders, {} certificates", bench.lab.pebble.issued());
    assert_eq!((orders, bench.lab.pebble.issued(), bench.finalizes()), (count, count, count), "{refused} refused");
    bench.assert_clean();
}
