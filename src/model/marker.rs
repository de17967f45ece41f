//! The TXT record that tells of a withdrawn address record, beside it in the zone: it survives the loss of the state directory.
//! Anybody who can write it can write address records, too; it is parsed strictly all the same.
//!
//! It holds what brings the record back: address and TTL. A comment and settings of the record are in the journal alone.

use core::fmt;
use core::net::IpAddr;

use jiff::Timestamp;

use crate::cert::NodeName;

/// RFC 1035 section 3.3: the longest character string of a TXT record, in bytes.
const LONGEST: usize = 255;
/// A week: no address record that somebody wants to fail over lives longer. (BIND's `max-cache-ttl`.)
const LONGEST_TTL: u32 = 7 * 86_400;
const VERSION: &str = "certd1";

/// Where it is, for the address records of this owner.
pub fn marker_name(owner: &str) -> String {
    format!("_certd-withdrawn.{owner}")
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    pub address: IpAddr,
    /// Seconds; 1 is "automatic" at Cloudflare.
    pub ttl: u32,
    /// When it was withdrawn, to the second.
    pub at: Timestamp,
    /// For people. `None`: its name was too long, or in no script that DNS shows everywhere.
    pub node: Option<String>,
}

impl Marker {
    pub fn new(address: IpAddr, ttl: u32, at: Timestamp, node: &NodeName) -> Self {
        let at = Timestamp::from_second(at.as_second()).unwrap_or(at);
        let ttl = ttl.clamp(1, LONGEST_TTL);
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let node = Some(node.as_str().to_owned()).filter(|node| node.chars().all(plain));
        Self { address, ttl, at, node }
    }

    /// `None`: it is not one of ours, or not whole.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let mut parts = text.split(',');
        if parts.next() != Some(VERSION) {
            return None;
        }
        let address = parts.next()?.parse().ok()?;
        let ttl = parts.next()?.parse().ok().filter(|ttl| (1..=LONGEST_TTL).contains(ttl))?;
        let at = parts.next()?.parse().ok()?;
        let node = parts.next().map(str::to_owned);
        let marker = Self { address, ttl, at, node };
        // One text for each marker, so that a record that is found is the one that was made.
        (parts.next().is_none() && marker.to_string() == text).then_some(marker)
    }
}

/// Without spaces, quotes and semicolons, which providers and programs treat in several ways.
impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION},{},{},{}", self.address, self.ttl, self.at)?;
        self.node.iter().try_for_each(|node| write!(f, ",{node}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::fixture::NOW;

    fn of(address: &str, node: &str) -> Marker {
        Marker::new(address.parse().unwrap(), 300, NOW, &NodeName::parse(node).unwrap())
    }

    #[test]
    fn a_marker_is_read_as_it_is_written_and_fits_into_one_string() {
        for marker in [of("192.0.2.1", "cn2-shanghai"), of("2001:db8::1", "上海"), of("192.0.2.1", &"x".repeat(64))] {
            let text = marker.to_string();
            assert_eq!(Marker::parse(&text), Some(marker), "{text}");
            assert!(text.len() <= LONGEST && text.is_ascii(), "{text}");
        }
        assert_eq!(of("192.0.2.1", "a,b").node, None);
        assert_eq!(
            Marker::new([192, 0, 2, 1].into(), u32::MAX, NOW, &NodeName::parse("one").unwrap()).ttl,
            LONGEST_TTL
        );
    }

    #[test]
    fn what_is_no_marker_is_none() {
        let text = of("192.0.2.1", "one").to_string();
        assert!(text.starts_with("certd1,192.0.2.1,300,2"), "{text}");
        for other in [
            String::new(),
            "v=spf1 -all".to_owned(),
            text.replace("certd1", "certd2"),
            text.replace("192.0.2.1", "192.0.2.001"),
            text.replace("192.0.2.1", "api.example.com"),
            text.replace(",300,", ",0,"),
            text.replace(",300,", ",+300,"),
            text.replace(",300,", ",604801,"),
            text.replace(",300", ""),
            format!("{text},more"),
            format!(" {text}"),
            format!("{text}{}", "x".repeat(LONGEST)),
            text.replace('Z', "+08:00"),
        ] {
            assert_eq!(Marker::parse(&other), None, "{other}");
        }
    }
}
