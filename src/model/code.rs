//! The codes of findings, for programs: meaning, severity, and area, from which the exit code follows. A code that
//! lacks one of them does not compile.

mod schema;

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Area, Severity};

macro_rules! codes {
    ($($code:ident = $word:literal, $severity:ident, $area:ident, $meaning:literal;)+) => {
        /// Written and shown as the word in kebab case.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $meaning] $code,)+
            /// Written by another version of certd. It keeps its word, and counts as certd's own failure.
            Unknown(Box<str>),
        }

        impl Code {
            /// All codes of this version.
            pub const ALL: &[Self] = &[$(Self::$code),+];

            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$code => $word,)+
                    Self::Unknown(word) => word,
                }
            }

            /// The severity of the code's findings, unless the finding itself has another.
            pub fn severity(&self) -> Severity {
                match self {
                    $(Self::$code => Severity::$severity,)+
                    Self::Unknown(_) => Severity::Failure,
                }
            }

            /// The area, from which the exit code of a failure follows.
            pub fn area(&self) -> Area {
                match self {
                    $(Self::$code => Area::$area,)+
                    // Codes are named after their area. A failed attempt that a later version noted must count as the
                    // CA's, or no other CA is asked.
                    Self::Unknown(word) if word.starts_with("acme-") => Area::Ca,
                    Self::Unknown(word) if word.starts_with("dns-") || word.starts_with("discover-") => Area::Dns,
                    Self::Unknown(word) if word.starts_with("node-") || word.starts_with("ssh-") => Area::Nodes,
                    Self::Unknown(word) if word.starts_with("health-") => Area::Health,
                    Self::Unknown(_) => Area::State,
                }
            }

            /// For docs/json.md.
            #[cfg(test)]
            fn meaning(&self) -> &'static str {
                match self {
                    $(Self::$code => $meaning,)+
                    Self::Unknown(_) => "Another version of certd wrote it",
                }
            }
        }

        impl From<&str> for Code {
            fn from(word: &str) -> Self {
                match word {
                    $($word => Self::$code,)+
                    _ => Self::Unknown(word.into()),
                }
            }
        }
    };
}

codes! {
    Bug = "bug", Failure, State, "certd did what must not happen";
    Interrupted = "interrupted", Failure, State, "A signal ended the work before it was done";
    NoRandomness = "no-randomness", Failure, State, "This machine gives no random numbers";
    CoreDumps = "core-dumps", Failure, State, "Core dumps, which would hold keys, could not be switched off";
    StateDirectory = "state-directory", Failure, State, "The owner of the state directory cannot be determined or taken on";
    StaysRoot = "stays-root", Failure, State, "Root's rights could not be given up";

    StateDamaged = "state-damaged", Warning, State, "A file of the state directory is damaged; certd works around it";
    StateRoom = "state-room", Obstacle, State, "Little room is left for the state directory";
    StoreFull = "store-full", Failure, State, "The disk of the state directory, or its quota, is full";
    StoreReadOnly = "store-read-only", Failure, State, "The state directory is on a file system that cannot be written";
    StorePermission = "store-permission", Failure, State, "The state directory may not be read or written by this user";
    StoreIo = "store-io", Failure, State, "The state directory could not be read or written";
    StoreNotPrivate = "store-not-private", Failure, State, "People other than the owner can read the state directory";
    StoreNotAFolder = "store-not-a-folder", Failure, State, "The state directory is not a folder";
    StoreNotOurs = "store-not-ours", Failure, State, "The state directory belongs to another user";
    StoreTooLong = "store-too-long", Failure, State, "A file of the state directory is longer than certd writes any";
    StoreNewerSchema = "store-newer-schema", Failure, State, "A newer certd wrote the state directory";
    StoreMissing = "store-missing", Failure, State, "A file that the state directory should have is gone";
    StoreDamaged = "store-damaged", Failure, State, "A file of the state directory cannot be understood";
    StoreBadCa = "store-bad-ca", Failure, State, "The host of a CA cannot be the name of a folder";
    StoreOnlyLooking = "store-only-looking", Failure, State, "A command that only looks was about to write";

    SecretUnreadable = "secret-unreadable", Failure, Configuration, "A file with a secret cannot be read";
    SecretExposed = "secret-exposed", Failure, Configuration, "Others can read a file with a secret";
    SecretNotAFile = "secret-not-a-file", Failure, Configuration, "The path of a secret is not a plain file";
    SecretTooLarge = "secret-too-large", Failure, Configuration, "A file with a secret is too long for one";
    SecretEmpty = "secret-empty", Failure, Configuration, "A file with a secret is empty";
    SecretNotText = "secret-not-text", Failure, Configuration, "A file with a secret is not text in UTF-8";
    SecretNotOneWord = "secret-not-one-word", Failure, Configuration, "A file with a secret has more than one word";
    FileWritable = "file-writable", Failure, Configuration, "Others can write a file, or a folder above it, that certd obeys";
    IdentityFormat = "identity-format", Failure, Configuration, "An identity file is not a private key that certd can use";
    ConfigFile = "config-file", Failure, Configuration, "A file that the configuration names cannot be read";
    ConfigRoot = "config-root", Failure, Configuration, "A file of root certificates cannot be read or understood";
    NoRoots = "no-roots", Failure, Configuration, "This system trusts no root certificate";
    WatchRoot = "watch-root", Warning, Configuration, "The roots of a watched endpoint cannot be read";

    NoRoute = "no-route", Warning, State, "This machine has no route to some addresses, most often no IPv6; no node is at fault";
    NoFiles = "no-files", Failure, State, "This machine had no more open files for a connection; no node is at fault";
    ClockImplausible = "clock-implausible", Failure, State, "This machine's clock cannot be right";
    ClockSkew = "clock-skew", Warning, State, "This machine's clock is more than an hour off a CA's; more than a day is an obstacle";
    NodeClock = "node-clock", Warning, Nodes, "A node's clock is more than five minutes off this machine's";

    AcmeUnreachable = "acme-unreachable", Failure, Ca, "The CA does not answer";
    AcmeStatus = "acme-status", Failure, Ca, "The CA, or what stands before it, answers with an HTTP error that is not ACME's";
    AcmeStrangeAnswer = "acme-strange-answer", Failure, Ca, "The CA's answer is not one that ACME allows";
    AcmeElsewhere = "acme-elsewhere", Failure, Ca, "The CA leads to a host that its directory does not name";
    AcmeAccountKey = "acme-account-key", Failure, Ca, "The key of the account cannot be used";
    AcmeClient = "acme-client", Failure, Ca, "The HTTP client for the CA could not be made";
    AcmeUnsupported = "acme-unsupported", Failure, Ca, "The CA does not offer what is needed";
    AcmeBadNonce = "acme-bad-nonce", Failure, Ca, "The CA refuses its own nonces";
    AcmeRateLimited = "acme-rate-limited", Failure, Ca, "A rate limit of the CA is reached";
    AcmePaused = "acme-paused", Failure, Ca, "The CA has paused issuance for these names";
    AcmeTerms = "acme-terms", Failure, Ca, "The CA waits for its terms to be agreed to";
    AcmeAccount = "acme-account", Failure, Ca, "The CA does not know the account, or has ended it";
    AcmeNoAccount = "acme-no-account", Failure, Ca, "There is no account at this CA";
    AcmeKeyChange = "acme-key-change", Warning, Ca, "A change of the account's key was begun and not ended";
    AcmeEab = "acme-eab", Failure, Ca, "The CA wants the account to be bound to one of its own (EAB), or refuses the binding";
    AcmeCaa = "acme-caa", Failure, Ca, "CAA records forbid the CA to issue";
    AcmeRejectedName = "acme-rejected-name", Failure, Ca, "The CA does not issue for this name";
    AcmeProfile = "acme-profile", Failure, Ca, "The CA does not offer this profile";
    AcmeValidation = "acme-validation", Failure, Ca, "The CA did not find the proof that it asked for";
    AcmeProblem = "acme-problem", Failure, Ca, "The CA refuses, for a reason that has no code of its own here";
    AcmeOrderInvalid = "acme-order-invalid", Failure, Ca, "The order became invalid";
    AcmeNoChallenge = "acme-no-challenge", Failure, Ca, "The CA does not offer the challenge that is configured";
    AcmeSlow = "acme-slow", Failure, Ca, "The CA was not done in time";
    AcmeForeignKey = "acme-foreign-key", Failure, Ca, "The CA issued for a key that is not this order's";
    AcmeRejectedCertificate = "acme-rejected-certificate", Failure, Ca, "What the CA issued failed certd's own checks, and is not used";
    AcmeSuperseded = "acme-superseded", Failure, Ca, "The order came to nothing and was no attempt";
    AcmeOrderShared = "acme-order-shared", Failure, Ca, "The CA gives the unfinished order of another certificate with the same names";
    AcmeEndsEarlier = "acme-ends-earlier", Failure, Ca, "What the CA issued ends earlier than the stored certificate";
    AcmeNoAriId = "acme-no-ari-id", Failure, Ca, "The certificate has no identifier for renewal information (RFC 9773)";
    AcmeNoIssuerName = "acme-no-issuer-name", Failure, Ca, "The CA does not name itself for CAA and persistent records";
    AcmeNoStandingRecord = "acme-no-standing-record", Failure, Ca, "A persistent TXT record (dns-persist-01) is missing";
    AcmeUnknownCa = "acme-unknown-ca", Failure, Ca, "The configuration does not have this CA any more";
    LedgerFull = "ledger-full", Failure, Issuing, "The ledger has no room: the CA's limits would be reached";
    IssuanceDeadline = "issuance-deadline", Failure, Issuing, "The issuance was not done in time";
    KeyGeneration = "key-generation", Failure, Issuing, "No key could be made";
    Crl = "crl", Warning, Issuing, "The CA's revocation list could not be had";
    ChainCaveat = "chain-caveat", Warning, Issuing, "A certificate was issued and kept, and its chain has a caveat";
    NothingToRevoke = "nothing-to-revoke", Failure, Configuration, "There is no such certificate to revoke";

    DnsApiUnreachable = "dns-api-unreachable", Failure, Dns, "The DNS provider's API does not answer";
    DnsApiRefused = "dns-api-refused", Failure, Dns, "The DNS provider's API refuses";
    DnsApiLimited = "dns-api-limited", Failure, Dns, "A rate limit of the DNS provider's API is reached";
    DnsApiStrangeAnswer = "dns-api-strange-answer", Failure, Dns, "The answer of the DNS provider's API cannot be understood";
    DnsApiClient = "dns-api-client", Failure, Dns, "The HTTP client for the DNS provider could not be made";
    DnsToken = "dns-token", Obstacle, Dns, "The DNS provider does not accept the token";
    DnsTokenFile = "dns-token-file", Failure, Configuration, "The file of the DNS provider's token holds what no token can be";
    DnsTokenAddress = "dns-token-address", Obstacle, Dns, "The DNS provider accepts the token from other client addresses only";
    DnsTokenPermission = "dns-token-permission", Failure, Dns, "The DNS provider's token may not do this";
    DnsTokenExpires = "dns-token-expires", Warning, Dns, "The DNS provider's token ends within a week";
    DnsNoZone = "dns-no-zone", Failure, Dns, "No zone of the DNS provider's token holds the name";
    DnsSeveralZones = "dns-several-zones", Failure, Dns, "The DNS provider's token sees several zones of one name";
    DnsZoneStatus = "dns-zone-status", Warning, Dns, "A zone is paused, pending or moved at the DNS provider";
    DnsName = "dns-name", Failure, Dns, "DNS cannot hold this name";
    DnsAddresses = "dns-addresses", Failure, Dns,
        "The DNS provider changes no address records, or answers with its own addresses (proxied records)";
    DnsLookup = "dns-lookup", Failure, Dns, "The resolvers do not answer";
    DnsCnameLoop = "dns-cname-loop", Failure, Dns, "CNAMEs lead in a circle";
    DnsNoServers = "dns-no-servers", Failure, Dns, "The zone has no name server with an address";
    DnsServersSilent = "dns-servers-silent", Failure, Dns, "No name server of the zone answers";
    DnsNotSeen = "dns-not-seen", Failure, Dns, "Not every name server shows the TXT record in time";
    DnsWildcard = "dns-wildcard", Warning, Dns, "A name has its addresses from a wildcard alone, and has none while its challenge's TXT record exists";
    DnsLongAnswer = "dns-long-answer", Warning, Dns, "The TXT records of a name no longer fit into one UDP answer";
    DnsUpdateKeyFile = "dns-update-key-file", Failure, Dns, "The TSIG key file cannot be used";
    DnsUpdateUnreachable = "dns-update-unreachable", Failure, Dns, "The primary name server cannot be reached";
    DnsUpdateSilent = "dns-update-silent", Failure, Dns, "The primary name server does not answer an UPDATE";
    DnsUpdateStrangeAnswer = "dns-update-strange-answer", Failure, Dns, "The primary name server's answer cannot be understood";
    DnsUpdateUnknownKey = "dns-update-unknown-key", Failure, Dns,
        "The primary name server does not know the TSIG key, or (Knot) does not let it change the name (BADKEY)";
    DnsUpdateWrongSecret = "dns-update-wrong-secret", Failure, Dns, "The primary name server has another secret for the TSIG key (BADSIG)";
    DnsUpdateClock = "dns-update-clock", Failure, Dns, "The clocks of this machine and of the primary name server differ (BADTIME)";
    DnsUpdateUnproven = "dns-update-unproven", Failure, Dns, "The answer to an UPDATE is not signed with the TSIG key";
    DnsUpdateRefused = "dns-update-refused", Failure, Dns, "The TSIG key may not change the zone (REFUSED)";
    DnsUpdateNotPrimary = "dns-update-not-primary", Failure, Dns, "The name server is not the zone's primary (NOTAUTH)";
    DnsUpdateUnsigned = "dns-update-unsigned", Failure, Dns,
        "The name server refuses an UPDATE and does not sign the answer: the key, the clocks or its permissions";
    DnsUpdateOutOfZone = "dns-update-out-of-zone", Failure, Dns, "The name is not in the configured zone";
    DnsUpdateNoZone = "dns-update-no-zone", Failure, Dns, "The name server serves no zone that holds the name";
    DnsUpdateFailed = "dns-update-failed", Failure, Dns, "The name server answers an UPDATE with an error";
    DnsProgramStart = "dns-program-start", Failure, Dns, "The DNS program could not be started";
    DnsProgramFailed = "dns-program-failed", Failure, Dns, "The DNS program ended with an error";
    DnsProgramTimeout = "dns-program-timeout", Failure, Dns, "The DNS program was not done in time";
    TxtLeft = "txt-left", Warning, Dns, "A TXT record could not be removed; a later run removes it";

    DiscoverKept = "discover-kept", Risk, Nodes, "DNS does not answer for nodes that it is to name; those that it named last are used";
    DiscoverEmpty = "discover-empty", Warning, Nodes, "DNS names no node any more; those that it named last are used";
    DiscoverRefused = "discover-refused", Warning, Nodes, "DNS names addresses that can be no node's; they are left out";
    DiscoverTooMany = "discover-too-many", Warning, Nodes, "DNS names too many nodes; the rest is left out";
    DiscoverNothing = "discover-nothing", Failure, Nodes, "DNS has not named any node yet";
    DiscoverConflict = "discover-conflict", Failure, Nodes,
        "Two certificates would be in one file, or in one handshake, on a node that DNS names";

    InventoryStranger = "inventory-stranger", Warning, Dns, "DNS shows an address that is no node of the certificate";
    InventoryNodeUnlisted = "inventory-node-unlisted", Warning, Dns, "No DNS record leads to a node";
    InventoryProxied = "inventory-proxied", Warning, Dns, "The DNS provider shows its own addresses instead of the nodes'";
    InventoryServersDiffer = "inventory-servers-differ", Warning, Dns, "The zone's own name servers show different addresses";
    InventoryResolverDiffers = "inventory-resolver-differs", Warning, Dns,
        "A resolver shows other addresses than the zone's own name servers";
    InventoryTtl = "inventory-ttl", Warning, Dns, "The TTL of the addresses is longer than 300 s";
    InventoryCaa = "inventory-caa", Warning, Dns, "CAA records forbid a CA of the configuration";
    InventoryCname = "inventory-cname", Warning, Dns, "The name is a CNAME";
    InventoryNoAddress = "inventory-no-address", Note, Dns, "The name has no address";
    InventoryUnasked = "inventory-unasked", Note, Dns, "DNS did not answer for the name";

    HealthNoAnswer = "health-no-answer", Failure, Health, "A node gives no answer to its health check";
    HealthTls = "health-tls", Failure, Health, "A node's TLS fails in its health check, or visitors refuse its certificate";
    HealthStatus = "health-status", Failure, Health, "A node's health check has another status, or none, since it is not HTTP";
    HealthBody = "health-body", Failure, Health, "The answer of a node's health check lacks the configured text";
    HealthBackend = "health-backend", Failure, Health,
        "Every node that answers says that the backend does not (502, 504); no node is at fault";
    HealthNoNode = "health-no-node", Failure, Health,
        "No node takes a connection from this machine, which may be what is cut off";
    HealthUnknown = "health-unknown", Warning, Health, "This machine cannot check the health of a node";
    HealthHeaders = "health-headers", Warning, Configuration, "A file of header fields cannot be understood";
    FailoverWithdrawn = "failover-withdrawn", Warning, Health, "Failover has withdrawn a failing node's record from DNS";
    FailoverAdvised = "failover-advised", Warning, Health, "Failover would change a record, and only advises (`failover.mode`)";
    FailoverHeld = "failover-held", Warning, Health, "A guard keeps a record of failover as it is, and a person has to look";
    FailoverFailed = "failover-failed", Warning, Health, "A record could not be withdrawn or brought back";
    FailoverUnread = "failover-unread", Warning, Health, "Failover cannot read the records of a name";

    SshRefused = "ssh-refused", Obstacle, Nodes, "The node refuses the connection";
    SshNoAnswer = "ssh-no-answer", Obstacle, Nodes, "The node does not answer";
    SshUnreachable = "ssh-unreachable", Obstacle, Nodes, "The node cannot be reached";
    SshHandshake = "ssh-handshake", Obstacle, Nodes, "No SSH session could be agreed on";
    SshTurnedAway = "ssh-turned-away", Obstacle, Nodes,
        "The node answers with a line of text in place of an SSH banner, as sshd does to an address that it punishes";
    SshHostKeyUnknown = "ssh-host-key-unknown", Obstacle, Nodes, "The node's host key is not known";
    SshHostKeyChanged = "ssh-host-key-changed", Obstacle, Nodes, "The node shows another host key than the pinned one";
    SshHostKeyRevoked = "ssh-host-key-revoked", Obstacle, Nodes, "The node shows a host key that known_hosts marks as revoked";
    SshLogin = "ssh-login", Obstacle, Nodes, "The node does not accept the login";
    SshSecondFactor = "ssh-second-factor", Obstacle, Nodes, "The node takes the key and wants a second factor besides";
    SshExec = "ssh-exec", Obstacle, Nodes, "The login works, and no program could be started";
    SshClosed = "ssh-closed", Obstacle, Nodes, "The SSH connection ended";
    SshDeadline = "ssh-deadline", Obstacle, Nodes, "The node was not done in time";
    SshForwarding = "ssh-forwarding", Obstacle, Nodes, "sshd does not forward to where it should";
    SshFarSide = "ssh-far-side", Obstacle, Nodes, "Nobody takes the connection on the far side of a forwarding";
    SshJump = "ssh-jump", Obstacle, Nodes, "A jump host keeps the connection from the node";
    SshEnded = "ssh-ended", Obstacle, Nodes, "The program on the node ended without an answer";
    SshNoise = "ssh-noise", Obstacle, Nodes, "The login prints without end";
    SshThread = "ssh-thread", Obstacle, Nodes, "This machine could not start a thread for the session";
    NodeUnresolved = "node-unresolved", Obstacle, Nodes, "The node's address could not be resolved";

    NodeForeignNewer = "node-foreign-newer", Failure, Nodes, "The node holds a newer generation, which this certd does not know";
    NodeFenceImplausible = "node-fence-implausible", Failure, Nodes, "The node holds a generation number that no right clock has given";
    NodeChanged = "node-changed", Failure, Nodes, "Somebody changed the files while the delivery was prepared";
    NodePath = "node-path", Obstacle, Nodes, "A path on the node cannot be used: room, mode, owner, or something else stands there";
    NodeLinks = "node-links", Failure, Nodes, "The node's server does not follow links at the configured path";
    NodeLocked = "node-locked", Failure, Nodes, "Another delivery is at work on the node";
    NodeUnfit = "node-unfit", Failure, Nodes, "The node lacks a program that a delivery needs";
    NodeNotPermitted = "node-not-permitted", Failure, Nodes, "The receiver on the node does not permit the delivery";
    NodeVersion = "node-version", Failure, Nodes, "The receiver on the node speaks another version of the dialogue";
    NodeGarbled = "node-garbled", Failure, Nodes, "The node's answer cannot be understood";
    NodeNonce = "node-nonce", Failure, Nodes, "No nonce could be drawn for the dialogue";
    NodeRolledBack = "node-rolled-back", Failure, Nodes, "The node's test or reload refuses the certificate; the former one is back";
    NodeBrokenBefore = "node-broken-before", Failure, Nodes, "The node's configuration test fails with and without the certificate";
    NodeServerNotRunning = "node-server-not-running", Failure, Nodes, "The files are in place; the server does not run";
    NodeReloadFails = "node-reload-fails", Failure, Nodes, "The files are in place; the reload command fails, while the server serves";
    NodeUnverified = "node-unverified", Failure, Nodes, "The files are in place, and no handshake proves that they are served";
    NodeQuic = "node-quic", Failure, Nodes, "The node serves the certificate over TCP, and another one over QUIC (HTTP/3)";
    NodeUndone = "node-undone", Failure, Nodes, "The node served something else after the reload, and was rolled back";
    NodeNotTouched = "node-not-touched", Failure, Nodes, "The delivery ended before it came to this node";
    NodeFailed = "node-failed", Failure, Nodes, "The delivery to the node failed";
    NodeKept = "node-kept", Failure, Nodes, "The node was to go back to what it had, and could not";

    NodeTestFails = "node-test-fails", Obstacle, Nodes, "The node's configuration test fails: no reload takes anything new";
    NodeRoom = "node-room", Obstacle, Nodes,
        "Less than 10 MiB are free at the chain's path on the node: a warning; less than 1 MiB: an obstacle";
    NodeRenewers = "node-renewers", Risk, Nodes, "Another ACME client on the node renews names that certd has, or writes to its paths";
    NodeOldWorkers = "node-old-workers", Risk, Nodes,
        "The node's nginx serves HTTP/3 without worker_shutdown_timeout: its old workers keep new QUIC handshakes from the new ones";
    NodeLeft = "node-left", Risk, Nodes, "The node has keys of certificates that the configuration does not have there";
    NodeKeyExposed = "node-key-exposed", Warning, Nodes, "More people can read a key on the node than are to";
    NodeDrifted = "node-drifted", Warning, Nodes, "The node's disk does not hold what is stored";
    NodeReceiver = "node-receiver", Warning, Nodes, "The receiver on the node is not the one that this configuration would install";
    NodeRootKey = "node-root-key", Warning, Nodes, "The receiver's key logs in as root, too, or that is not known";
    NodeScript = "node-script", Failure, Nodes, "An administrator's script did not come to its end on a node";
    ReceiverSetup = "receiver-setup", Failure, Nodes, "The receiver could not be set up";
    ReceiverCut = "receiver-cut", Failure, Nodes, "The connection ended while the receiver was set up";
    ImportSource = "import-source", Failure, Configuration, "What is to be imported cannot be read";
    ImportExists = "import-exists", Failure, Configuration,
        "A file that an import would write is there with other content; nothing was overwritten";
    KeyNarrowed = "key-narrowed", Warning, Nodes, "People who can read a key on the node will not be able to after the delivery";
    Rehearsal = "rehearsal", Warning, Issuing, "A rehearsal found what will keep the next renewal from its end";
    HoldEnded = "hold-ended", Warning, Nodes, "A held generation is no longer held";
    HoldRefused = "hold-refused", Failure, Configuration, "A generation cannot be held; nothing was changed";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|word| Self::from(word.as_str()))
    }
}

#[cfg(test)]
mod tests {
    mod next;

    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_code_is_read_as_it_is_written() {
        let words: BTreeSet<&str> = Code::ALL.iter().map(Code::as_str).collect();
        assert_eq!(words.len(), Code::ALL.len(), "a word occurs twice");
        for code in Code::ALL {
            let written = serde_json::to_string(code).unwrap();
            assert_eq!(written, format!("\"{code}\""));
            assert_eq!(serde_json::from_str::<Code>(&written).unwrap(), *code);
            assert!(!matches!(code, Code::Unknown(_)), "{code}");
        }
    }

    #[test]
    fn a_code_of_another_version_keeps_its_word() {
        let code: Code = serde_json::from_str("\"acme-of-tomorrow\"").unwrap();
        assert_eq!(code, Code::Unknown("acme-of-tomorrow".into()));
        assert_eq!(serde_json::to_string(&code).unwrap(), "\"acme-of-tomorrow\"");
        let area = |word: &str| Code::from(word).area();
        assert_eq!(code.area(), Area::Ca, "else no other CA would be asked after a fault of this one");
        assert_eq!((area("dns-of-tomorrow"), area("node-of-tomorrow")), (Area::Dns, Area::Nodes));
        assert_eq!(area("of-tomorrow"), Area::State);
    }

    /// `UPDATE=1 cargo test --lib codes_are_documented` writes the section anew.
    #[test]
    fn codes_are_documented() {
        let path = format!("{}/docs/json.md", env!("CARGO_MANIFEST_DIR"));
        let document = std::fs::read_to_string(&path).unwrap();
        let (start, end) = ("<!-- codes -->\n", "<!-- end of codes -->");
        let (before, rest) = document.split_once(start).expect("where the table begins");
        let (table, after) = rest.split_once(end).expect("where the table ends");
        let head = ["", "| `code` | severity | exit | meaning | what helps |", "|---|---|---|---|---|", ""];
        let mut wanted = head.join("\n");
        for code in Code::ALL {
            let severity = serde_json::to_value(code.severity()).unwrap();
            let (severity, exit) = (severity.as_str().unwrap(), code.area().exit().code());
            wanted.push_str(&format!("| `{code}` | {severity} | {exit} | {} | {} |\n", code.meaning(), code.next()));
        }
        wanted.push('\n');
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, format!("{before}{start}{wanted}{end}{after}")).unwrap();
        } else {
            assert_eq!(table, wanted, "UPDATE=1 writes it anew");
        }
    }
}
