//! Where a served certificate that is not ours comes from.

use jiff::Timestamp;
use serde::Serialize;

use crate::cert::{Leaf, NameSet};

use super::words;

/// Organisations that issue over ACME: the certificate comes from a client on the node, or from another holder of the
/// name.
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

/// Names listed for a certificate; some have hundreds.
const NAMES: usize = 5;

/// The origin of a certificate, by its own fields.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Origin {
    pub subject: String,
    pub issuer: String,
    /// The issuer's organisation, if it has one.
    pub organisation: Option<String>,
    pub names: NameSet,
    pub not_before: Timestamp,
    pub serial: String,
    #[serde(rename = "maker")]
    pub kind: OriginKind,
}

/// The likely source of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OriginKind {
    /// Generated on the machine, when a package was installed or a server was started without a certificate.
    SelfSigned,
    /// Cloudflare's proxy answers, and not the node.
    CloudflareEdge,
    /// For connections from Cloudflare's proxy to the node; no other client trusts it.
    CloudflareOrigin,
    /// The default certificate of Caddy, Traefik or an ingress controller.
    ServerDefault,
    AcmeCa,
    Unknown,
}

impl Origin {
    pub(super) fn of(leaf: &Leaf) -> Self {
        Self {
            subject: leaf.subject.clone(),
            issuer: leaf.issuer.clone(),
            organisation: leaf.organisation.clone(),
            names: leaf.names.clone(),
            not_before: leaf.not_before,
            serial: leaf.serial.clone(),
            kind: kind(leaf),
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
        format!("by {issuer}, for {names}, since {since}, serial {serial}: {}", self.kind.hint())
    }
}

impl OriginKind {
    fn hint(self) -> &'static str {
        match self {
            Self::SelfSigned => "self-signed, like the default certificate of a server or distribution (snakeoil)",
            Self::CloudflareEdge => {
                "Cloudflare's proxy answers instead of the node: make its DNS record \"DNS only\", or configure the node's own address"
            }
            Self::CloudflareOrigin => "Cloudflare's origin CA: only its proxy trusts it",
            Self::ServerDefault => "the default certificate of a server that has none for this name",
            Self::AcmeCa => {
                "an ACME CA: another client (acme.sh, certbot) renews it, perhaps on the node; `certd check --deep` looks for it"
            }
            Self::Unknown => "a CA that certd does not know by name",
        }
    }
}

fn kind(leaf: &Leaf) -> OriginKind {
    let organisation = leaf.organisation.as_deref().unwrap_or_default();
    let issuer = leaf.issuer.as_str();
    let cloudflare = |text: &str| text.to_ascii_lowercase().contains("cloudflare");
    let stand_in = issuer.starts_with("Caddy Local Authority")
        || leaf.subject == "TRAEFIK DEFAULT CERT"
        || leaf.subject == "Kubernetes Ingress Controller Fake Certificate";
    match () {
        () if stand_in => OriginKind::ServerDefault,
        () if leaf.subject.to_ascii_lowercase().starts_with("cloudflare origin") => OriginKind::CloudflareOrigin,
        () if cloudflare(issuer) || cloudflare(organisation) => OriginKind::CloudflareEdge,
        () if leaf.self_signed => OriginKind::SelfSigned,
        () if ACME_CAS.contains(&organisation) => OriginKind::AcmeCa,
        () => OriginKind::Unknown,
    }
}
