//! Advice that several sentences end with.

/// Advice for a server that keeps an old certificate over QUIC alone.
pub(super) const RESTART: &str =
    "restart the server on the node: a reload changes nothing over QUIC until it is started anew (Caddy 2.6 is so)";

/// Advice where a server does not read one of two pairs.
pub(super) const READ_BOTH: &str = "once a delivery has put its files there, let the server read them beside the other pair \
                                    (nginx: `ssl_certificate` and `ssl_certificate_key` twice), and reload it";
