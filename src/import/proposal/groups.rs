//! Which of the found certificates become one certificate of the configuration: those of the same names, whatever their age.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::super::adopt::day;
use super::super::{Found, FoundCertificate, FoundChallenge, LeftOut, Paths};
use crate::cert::{KeyType, NameSet, Roots, lint};

/// Names of one certificate: what Let's Encrypt and the other CAs allow.
const MOST_NAMES: usize = 100;

/// One certificate of the configuration to be: the same names on some nodes.
pub(super) struct Group<'a> {
    pub(super) names: &'a NameSet,
    pub(super) key_type: KeyType,
    /// Another group has the same names, with a key of another algorithm.
    pub(super) is_further: bool,
    /// Those that say how it is renewed: what fails certd's own checks counts only where nothing passes them.
    pub(super) votes: Vec<&'a FoundCertificate>,
    /// Each with its node's place in the list.
    pub(super) members: Vec<(usize, &'a FoundCertificate)>,
}

struct Candidate<'a> {
    node: usize,
    one: &'a FoundCertificate,
    key_type: KeyType,
    /// It passes certd's own checks.
    is_fit: bool,
    ends: Timestamp,
}

pub(super) fn groups<'a>(
    found: &'a [Found],
    node_of: impl Fn(&Found) -> usize,
    roots: &Roots,
    now: Timestamp,
    left_out: &mut Vec<LeftOut>,
) -> Vec<Group<'a>> {
    let mut leave_out = |one: &FoundCertificate, why: String| left_out.push(LeftOut { what: one.file.clone(), why });
    let mut buckets: Vec<Vec<Candidate<'a>>> = Vec::new();
    let (mut by_names, mut taken) = (BTreeMap::new(), BTreeSet::new());
    // Where nothing is, the server reads the other client's own files.
    let any_placed = found.iter().flat_map(|home| &home.certificates).any(|one| one.paths != Paths::default());
    for (home, one) in found.iter().flat_map(|home| home.certificates.iter().map(move |one| (home, one))) {
        let (candidate, node) = match why_not(one, now) {
            Ok(_) if any_placed && one.paths == Paths::default() && !home.unprivileged => {
                let why = "it is installed nowhere: add it with the paths that a server reads, if one does";
                leave_out(one, why.to_owned());
                continue;
            }
            Ok(key_type) => (key_type, node_of(home)),
            Err(why) => {
                why.into_iter().for_each(|why| leave_out(one, why));
                continue;
            }
        };
        let Some(pair) = &one.pair else { continue };
        let is_fit = lint(pair, &one.names, roots, now).is_empty();
        let candidate = Candidate { node, one, key_type: candidate, is_fit, ends: pair.chain().leaf.not_after };
        if let Some(at) = by_names.get(&one.names) {
            let bucket: &mut Vec<Candidate<'_>> = &mut buckets[*at];
            match bucket.iter().find(|other| is_overwritten(other, &candidate)) {
                Some(other) => leave_out(
                    one,
                    format!(
                        "{} is installed to the same paths, with another type of key: only one can be",
                        other.one.file
                    ),
                ),
                None => bucket.push(candidate),
            }
            continue;
        }
        if let Some(shared) = one.names.iter().find(|name| taken.contains(name)) {
            let why =
                format!("another certificate has one of its names ({shared}): write it by hand, if both are to be");
            leave_out(one, why);
            continue;
        }
        taken.extend(one.names.iter());
        by_names.insert(&one.names, buckets.len());
        buckets.push(vec![candidate]);
    }
    buckets.into_iter().flat_map(split).collect()
}

/// What keeps it from being a certificate of certd's; nothing, where that has been said already.
fn why_not(one: &FoundCertificate, now: Timestamp) -> Result<KeyType, Option<String>> {
    let leaf = one.leaf().ok_or(None)?;
    let why = match &one.challenge {
        _ if one.names.iter().count() > MOST_NAMES => {
            format!("it has more than {MOST_NAMES} names, and no CA gives more")
        }
        FoundChallenge::OtherDns(hook) => format!(
            "its names are proven through {hook}: certd has Cloudflare, RFC 2136 and `exec`, a program of yours (docs/dns.md)"
        ),
        FoundChallenge::Other(how) => format!(
            "its names are proven by {how}, and certd proves names by DNS-01 alone: add it when the token may write in its \
             zone"
        ),
        FoundChallenge::Cloudflare | FoundChallenge::Unknown if leaf.not_after <= now => {
            format!("it expired {}", day(leaf.not_after))
        }
        FoundChallenge::Cloudflare | FoundChallenge::Unknown => {
            let unknown = || Some("its key is of a type that certd does not order".to_owned());
            return leaf.key_type.ok_or_else(unknown);
        }
    };
    Err(Some(why))
}

/// Two algorithms at one place of one node.
fn is_overwritten(one: &Candidate<'_>, other: &Candidate<'_>) -> bool {
    one.node == other.node
        && one.key_type.algorithm() != other.key_type.algorithm()
        && one.one.paths == other.one.paths
        && one.one.paths != Paths::default()
}

/// One certificate; or one for each algorithm, where some node has both for clients of either kind.
fn split(bucket: Vec<Candidate<'_>>) -> Vec<Group<'_>> {
    let has_both = bucket.iter().any(|one| {
        bucket.iter().any(|other| one.node == other.node && one.key_type.algorithm() != other.key_type.algorithm())
    });
    if !has_both {
        return group(bucket, false).into_iter().collect();
    }
    // ECDSA has the plain name: most clients get it.
    let (ecdsa, rsa): (Vec<_>, Vec<_>) =
        bucket.into_iter().partition(|one| one.key_type.algorithm() == KeyType::EcdsaP256.algorithm());
    group(ecdsa, false).into_iter().chain(group(rsa, true)).collect()
}

fn group(members: Vec<Candidate<'_>>, is_further: bool) -> Option<Group<'_>> {
    // A second key of one algorithm is another age of the same: the one with the longest life becomes the shared one.
    let best = members.iter().max_by_key(|one| (one.is_fit, one.ends))?;
    let (names, key_type, any_fit) = (&best.one.names, best.key_type, best.is_fit);
    let votes = members.iter().filter(|one| one.is_fit == any_fit).map(|one| one.one).collect();
    let members = members.into_iter().map(|one| (one.node, one.one)).collect();
    Some(Group { names, key_type, is_further, votes, members })
}
