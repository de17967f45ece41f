//! Which addresses answered over QUIC a short while ago. Silence there is that of old workers, which hold new handshakes
//! while they have requests; it varies from one look to the next, and is no reason for another exit code.

use jiff::{SignedDuration, Timestamp};

use crate::model::Observed;

/// After that, an address that was asked for by configuration is reported as silent.
const RECENT: SignedDuration = SignedDuration::from_hours(24);

/// Marks what was observed with what earlier passes have noted.
pub fn recall(observed: &mut Observed, now: Timestamp) {
    let Observed { served, state, .. } = observed;
    for served in served {
        let noted = served.address.and_then(|address| state.quic.get(&served.node)?.get(&address));
        let is_recent = noted.is_some_and(|at| now.duration_since(*at) < RECENT);
        served.handshakes.iter_mut().for_each(|handshakes| handshakes.before |= is_recent);
    }
}

/// Notes what answers now, and drops what is old.
pub fn note(observed: &mut Observed, now: Timestamp) {
    let Observed { served, state, .. } = observed;
    for served in served.iter().filter(|served| served.handshakes.is_some_and(|handshakes| handshakes.answered > 0)) {
        let of_node = state.quic.entry(served.node.clone()).or_default();
        of_node.extend(served.address.map(|address| (address, now)));
    }
    // One from the future, by a clock that was wrong, would stay.
    let recent = |at: &Timestamp| now.duration_since(*at).abs() < RECENT;
    state.quic.values_mut().for_each(|of_node| of_node.retain(|_, at| recent(at)));
    state.quic.retain(|_, of_node| !of_node.is_empty());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::fixture::NOW;
    use crate::cert::{CertName, DnsName, NodeName};
    use crate::model::{Handshakes, Over, ProbeError, Seen, Served};

    fn observed(answered: u16) -> Observed {
        let served = Served {
            node: NodeName::parse("a").unwrap(),
            certificate: CertName::parse("a.example.com").unwrap(),
            address: Some("192.0.2.1:443".parse().unwrap()),
            sni: DnsName::parse("a.example.com").unwrap(),
            over: Over::Quic,
            seen: Seen::Silence(ProbeError::NoQuic),
            starttls: None,
            handshakes: Some(Handshakes { asked: 15, answered, before: false }),
        };
        Observed { served: vec![served], ..Observed::default() }
    }

    #[test]
    fn n09_an_address_that_answered_within_a_day_is_remembered_and_no_longer() {
        let mut then = observed(1);
        note(&mut then, NOW);
        let later = |hours: i64| {
            let mut observed = observed(0);
            observed.state = then.state.clone();
            recall(&mut observed, NOW + SignedDuration::from_hours(hours));
            observed.served[0].handshakes.unwrap().before
        };
        assert_eq!([0, 23, 24].map(later), [true, true, false]);
        let mut silent = observed(0);
        silent.state = then.state.clone();
        note(&mut silent, NOW + SignedDuration::from_hours(23));
        assert!(!silent.state.quic.is_empty(), "silence changes nothing");
        note(&mut silent, NOW + SignedDuration::from_hours(24));
        assert!(silent.state.quic.is_empty(), "{:?}", silent.state.quic);
    }
}
