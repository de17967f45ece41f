//! A served certificate that is not ours: whose is it?

use jiff::Timestamp;
use serde::Serialize;

use crate::cert::{Leaf, NameSet};

use super::words;

/// Organisations that issue over ACME to whoever proves a name: a client on the node, or somebody else with the name.
const ACME_CAS: [&str; 8] = [
    "Let's Encrypt",
    "(STAGING) Let's Encrypt",
    "ZeroSSL",
    "Google Trust Services",
    "Google Trust Services LLC",
    "Buypass AS-983163327",
    "SSL Corporation",
    "Actalis S.p.A.",
];

/// Names that are shown of a certificate; some have hundreds.
const NAMES: usize = 5;

/// What a certificate says of its origin.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Whose {
    pub subject: String,
    pub issuer: String,
    /// The issuer's organisation, where it says one.
    pub organisation: Option<String>,
    pub names: NameSet,
    pub not_before: Timestamp,
    pub serial: String,
    pub maker: Maker,
}

/// Who is likely to have made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Maker {
    /// By the machine itself, when a package was installed or a server was started without one.
    SelfSigned,
    /// Cloudflare's proxy answers, and not the node.
    CloudflareEdge,
    /// For the way between Cloudflare's proxy and the node: nobody else trusts it.
    CloudflareOrigin,
    /// Caddy's, Traefik's or an ingress controller's stand-in.
    ServerDefault,
    AcmeCa,
    Unknown,
}

impl Whose {
    pub(super) fn of(leaf: &Leaf) -> Self {
        Self {
            subject: leaf.subject.clone(),
            issuer: leaf.issuer.clone(),
            organisation: leaf.organisation.clone(),
            names: leaf.names.clone(),
            not_before: leaf.not_before,
            serial: leaf.serial.clone(),
            maker: maker(leaf),
        }
    }

    /// `by R11 (Let's Encrypt), for a, b, since 2026-10-01: …`.
    pub(super) fn sentence(&self) -> String {
        let issuer = match &self.organisation {
            Some(organisation) if *organisation != self.issuer => format!("{} ({organisation})", self.issuer),
            _ => self.issuer.clone(),
        };
        let mut names: Vec<String> = self.names.iter().take(NAMES).map(ToString::to_string).collect();
        match self.names.iter().count() {
            0 => names.push(format!("{:?} (no DNS name)", self.subject)),
            count if count > NAMES => names.push(format!("{} more", count - NAMES)),
            _ => {}
        }
        let (names, since) = (names.join(", "), words::day(self.not_before));
        let serial = &self.serial;
        format!("by {issuer}, for {names}, since {since}, serial {serial}: {}", self.maker.hint())
    }
}

impl Maker {
    fn hint(self) -> &'static str {
        match self {
            Self::SelfSigned => "signed by itself, as a server's or a distribution's stand-in is (snakeoil)",
            Self::CloudflareEdge => {
                "Cloudflare's proxy answers there and not the node: make its DNS record \"DNS only\", or give the node's own address"
            }
            Self::CloudflareOrigin => "Cloudflare's origin CA: only its proxy trusts it",
            Self::ServerDefault => "the stand-in of a server that has no certificate for this name",
            Self::AcmeCa => {
                "an ACME CA: another client (acme.sh, certbot) renews it, perhaps on the node; `certd check --deep` looks for it"
            }
            Self::Unknown => "a CA that certd does not know by name",
        }
    }
}

fn maker(leaf: &Leaf) -> Maker {
    let organisation = leaf.organisation.as_deref().unwrap_or_default();
    let issuer = leaf.issuer.as_str();
    let cloudflare = |text: &str| text.to_ascii_lowercase().contains("cloudflare");
    let stand_in = issuer.starts_with("Caddy Local Authority")
        || leaf.subject == "TRAEFIK DEFAULT CERT"
        || leaf.subject == "Kubernetes Ingress Controller Fake Certificate";
    match () {
        () if stand_in => Maker::ServerDefault,
        () if leaf.subject.to_ascii_lowercase().starts_with("cloudflare origin") => Maker::CloudflareOrigin,
        () if cloudflare(issuer) || cloudflare(organisation) => Maker::CloudflareEdge,
        () if leaf.self_signed => Maker::SelfSigned,
        () if ACME_CAS.contains(&organisation) => Maker::AcmeCa,
        () => Maker::Unknown,
    }
}
