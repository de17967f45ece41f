//! Cloudflare's own addresses, by which a proxied record is known without its API.

use core::net::IpAddr;

/// <https://www.cloudflare.com/ips-v4>, which has not changed since 2021.
const V4: [([u8; 4], u32); 15] = [
    ([173, 245, 48, 0], 20),
    ([103, 21, 244, 0], 22),
    ([103, 22, 200, 0], 22),
    ([103, 31, 4, 0], 22),
    ([141, 101, 64, 0], 18),
    ([108, 162, 192, 0], 18),
    ([190, 93, 240, 0], 20),
    ([188, 114, 96, 0], 20),
    ([197, 234, 240, 0], 22),
    ([198, 41, 128, 0], 17),
    ([162, 158, 0, 0], 15),
    ([104, 16, 0, 0], 13),
    ([104, 24, 0, 0], 14),
    ([172, 64, 0, 0], 13),
    ([131, 0, 72, 0], 22),
];

/// <https://www.cloudflare.com/ips-v6>; the first two groups.
const V6: [([u16; 2], u32); 7] = [
    ([0x2400, 0xcb00], 32),
    ([0x2606, 0x4700], 32),
    ([0x2803, 0xf800], 32),
    ([0x2405, 0xb500], 32),
    ([0x2405, 0x8100], 32),
    ([0x2a06, 0x98c0], 29),
    ([0x2c0f, 0xf248], 32),
];

/// Whether Cloudflare's proxies answer there.
pub fn is_proxy(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => {
            let within = |(net, bits): &([u8; 4], u32)| (ip.to_bits() ^ u32::from_be_bytes(*net)) >> (32 - bits) == 0;
            V4.iter().any(within)
        }
        IpAddr::V6(ip) => {
            let head = (ip.to_bits() >> 96) as u32;
            let within = |([high, low], bits): &([u16; 2], u32)| {
                (head ^ (u32::from(*high) << 16 | u32::from(*low))) >> (32 - bits) == 0
            };
            V6.iter().any(within)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_addresses_are_known_up_to_the_bounds_of_their_blocks() {
        let is = |text: &str| is_proxy(text.parse().unwrap());
        for inside in [
            "104.16.0.0",
            "104.23.255.255",
            "104.27.9.9",
            "172.67.1.2",
            "131.0.75.255",
            "2606:4700::1111",
            "2a06:98c7:ffff::1",
        ] {
            assert!(is(inside), "{inside}");
        }
        for outside in [
            "104.15.255.255",
            "104.28.0.0",
            "172.63.255.255",
            "1.1.1.1",
            "192.0.2.1",
            "2606:4701::1",
            "2a06:98c8::",
            "::1",
        ] {
            assert!(!is(outside), "{outside}");
        }
    }
}
