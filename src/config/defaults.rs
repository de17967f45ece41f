//! Defaults and limits, each with its unit, reason and source.

use core::time::Duration;

use jiff::SignedDuration;

use crate::cert::KeyType;

/// The Filesystem Hierarchy Standard's place for a program's state (FHS 3.0 section 5.8); systemd's `StateDirectory=`
/// makes the same one.
pub const STATE_DIR: &str = "/var/lib/certd";

/// SSH sessions at once. A thread with 256 KiB of stack each; sshd's own `MaxStartups 10:30:100` counts per node, so it
/// is not what limits a fleet.
pub const SESSIONS: usize = 64;

/// Certificates of the same names within seven days. Let's Encrypt: "Up to 5 certificates can be issued per exact same set
/// of identifiers every 7 days".
pub const CERTIFICATES_PER_WEEK: usize = 5;

/// One a minute; more is a loop.
pub const MOST_CERTIFICATES_PER_WEEK: usize = 10_000;

/// Nodes that may refuse a certificate before a rollout ends. If one in ten refuses, those nodes are at fault; if more do,
/// the certificate is.
pub const STOP_AFTER_PERCENT: usize = 10;

/// When `certd run` makes a pass. Four times a day: RFC 9773 section 4.3 asks for at least two questions about renewal a
/// day, and a node that was down is repaired within hours. Never on the hour: "run at a random
/// second" is Let's Encrypt's advice, since everybody comes on the hour.
pub const SCHEDULE: &str = "17 */6 * * *";

/// How often `certd run` checks what nodes serve, by handshakes alone. A fault that visitors notice is found within this time.
pub const CHECK_EVERY: SignedDuration = SignedDuration::from_mins(5);

/// Shorter intervals would fill a server's log.
pub const CHECK_AT_MOST_EVERY: SignedDuration = SignedDuration::from_secs(1);
/// A check that is rarer than the schedule's passes is useless.
pub const CHECK_AT_LEAST_EVERY: SignedDuration = SignedDuration::from_hours(24);

/// With more, threads and file descriptors (1,024 by default, `ulimit -n`) run out.
pub const MOST_SESSIONS: usize = 500;

/// Port of SSH (RFC 4253 section 4.1).
pub const SSH_PORT: u16 = 22;

/// The login on a node: files in nginx's folder and a reload are root's.
pub const SSH_USER: &str = "root";

/// The controller's key for its nodes.
pub const IDENTITY_FILE: &str = "/etc/certd/id_ed25519";

/// Host keys of nodes, in OpenSSH's format; not in `~/.ssh`, which belongs to a person.
pub const KNOWN_HOSTS: &str = "/etc/certd/known_hosts";

/// Port of HTTPS (RFC 9110 section 4.2.2).
pub const PROBE_PORT: u16 = 443;

/// Deadline for a new certificate to be served after a reload; nginx's old workers are gone within 0.2 s. …
pub const SERVED_WITHIN: Duration = Duration::from_secs(15);
/// … Some servers finish their old connections first. The node program waits ten minutes for what comes next.
pub const SHORTEST_SERVED_WITHIN: Duration = Duration::from_secs(1);
pub const LONGEST_SERVED_WITHIN: Duration = Duration::from_mins(5);

/// Port of a watched endpoint, to which `[probe]` does not apply.
pub const WATCH_PORT: u16 = 443;

/// Path of a health check's request: what a server without a path for it has, too.
pub const HEALTH_PATH: &str = "/";

/// The status of a good answer.
pub const HEALTH_STATUS: [u16; 1] = [200];

/// From one health check of a node to the next: a visitor meets a dead node for this times [`HEALTH_FALL`] at least.
pub const HEALTH_INTERVAL: Duration = Duration::from_secs(30);
/// Also of the timeout: a farther server answers no faster.
pub const SHORTEST_HEALTH_INTERVAL: Duration = Duration::from_secs(1);
pub const LONGEST_HEALTH_INTERVAL: Duration = Duration::from_hours(1);

/// For one request: a dozen round trips to the farthest node, and a slow backend.
pub const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);
pub const LONGEST_HEALTH_TIMEOUT: Duration = Duration::from_secs(60);

/// Answers in a row: one lost packet or one restart is no failure, and one good answer no recovery. HAProxy's defaults.
pub const HEALTH_RISE: u32 = 2;
pub const HEALTH_FALL: u32 = 3;
pub const MOST_HEALTH_ANSWERS: u32 = 100;

/// Bytes of a path, and of a text in a body.
pub const LONGEST_HEALTH_TEXT: usize = 1024;

/// How long a node has to fail before its record is withdrawn: a restart and a short outage of the network are over by then.
pub const FAILOVER_AFTER: SignedDuration = SignedDuration::from_mins(3);
/// How long it has to be well before its record comes back. Longer: a node that flaps is worse than one that is out.
pub const FAILOVER_RESTORE_AFTER: SignedDuration = SignedDuration::from_mins(10);
/// From one change of a name's records to the next: by then the others have shown whether they bear the load, since most
/// resolvers have learned of the change ([`LONGEST_TTL`]).
pub const FAILOVER_INTERVAL: SignedDuration = SignedDuration::from_mins(5);
pub const SHORTEST_FAILOVER: SignedDuration = SignedDuration::from_secs(1);
pub const LONGEST_FAILOVER: SignedDuration = SignedDuration::from_hours(24);
pub const MOST_RECORDS: usize = 1000;
/// They are all asked at once.
pub const MOST_WITNESSES: usize = 10;
/// Port of HTTPS, which networks let out.
pub const WITNESS_PORT: u16 = 443;

/// Port of DNS (RFC 1035 section 4.2).
pub const DNS_PORT: u16 = 53;

/// <https://developers.cloudflare.com/api/>, "Making API calls".
pub const CLOUDFLARE_API: &str = "https://api.cloudflare.com/client/v4";

/// TTL of a challenge's record, in seconds. It is used for minutes, and 60 is Cloudflare's minimum, too.
pub const UPDATE_TTL: u32 = 60;

/// A day: caching a record longer than its order lives is useless.
pub const LONGEST_UPDATE_TTL: u32 = 86_400;

/// Seconds for one call of a DNS program, which may call a slow API a few times.
pub const PROGRAM_TIMEOUT: u32 = 120;

/// Half of what a whole issuance may take.
pub const LONGEST_PROGRAM_TIMEOUT: u32 = 600;

/// DoH servers, queried where port 53 is blocked. Two, since each may have cached the absence of a record for half an hour
/// (RFC 2308), and each may be unreachable. They have different operators and are open to the public
/// (<https://developers.cloudflare.com/1.1.1.1/encryption/dns-over-https/>,
/// <https://developers.google.com/speed/public-dns/docs/doh>).
pub const DOH: [&str; 2] = ["https://1.1.1.1/dns-query", "https://dns.google/dns-query"];

/// For a record to be visible on every name server. Cloudflare takes a second or two; slow secondaries refresh within
/// minutes.
pub const SEEN_TIMEOUT: Duration = Duration::from_secs(180);
/// Less leaves no time to find silent servers (ten seconds), and to query DoH servers.
pub const SHORTEST_SEEN_TIMEOUT: Duration = Duration::from_secs(30);
/// It is added to the deadline of an issuance (src/execute/issue.rs): more would hold up the nodes for too long.
pub const LONGEST_SEEN_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Small in a handshake, and supported by every client of the last ten years; the default of certbot (2.0) and acme.sh.
pub const KEY_TYPE: KeyType = KeyType::EcdsaP256;

/// Nodes of one name: an error in DNS, or a forged answer, must not cause a thousand handshakes.
pub const MOST_DISCOVERED: usize = 100;

/// Seconds. With more, clients go on using a node long after it was removed from DNS; Cloudflare's "auto" is this
/// (<https://developers.cloudflare.com/dns/manage-dns-records/reference/ttl/>).
pub const LONGEST_TTL: u32 = 300;

/// Names in one certificate: Let's Encrypt's limit for its classic profile (<https://letsencrypt.org/docs/rate-limits/>).
pub const MOST_NAMES: usize = 100;

/// Profiles with a limit of their own (<https://letsencrypt.org/docs/profiles/>).
pub const PROFILES_WITH_25_NAMES: [&str; 2] = ["tlsserver", "shortlived"];
pub const FEW_NAMES: usize = 25;

/// Characters of a certificate's name, which names folders in the store and on nodes; file systems allow 255 bytes.
pub const LONGEST_NAME: usize = 100;

/// Bytes of a path on a node: a quarter of Linux's PATH_MAX, since certd appends names.
pub const LONGEST_PATH: usize = 1024;

/// Bytes of one argument of a command; many arguments must fit into one message to a node.
pub const LONGEST_ARGUMENT: usize = 4096;

/// Mode of a key with `group` but without `key_mode`, so that the group can read it, as with Debian's `ssl-cert` (ssl-cert(8),
/// `/etc/ssl/private`).
pub const KEY_MODE_OF_A_GROUP: u16 = 0o640;

/// A CA that has a short name in `directory`.
pub struct KnownCa {
    pub name: &'static str,
    pub directory: &'static str,
    /// New accounts need an external account binding (RFC 8555 section 7.3.4).
    pub needs_eab: bool,
    /// Its names in CAA records (RFC 8659).
    pub caa: &'static [&'static str],
}

/// From each CA's own documentation of its ACME service and of CAA.
pub const KNOWN_CAS: [KnownCa; 5] = [
    KnownCa {
        name: "letsencrypt",
        directory: "https://acme-v02.api.letsencrypt.org/directory",
        needs_eab: false,
        caa: &["letsencrypt.org"],
    },
    KnownCa {
        name: "letsencrypt-staging",
        directory: "https://acme-staging-v02.api.letsencrypt.org/directory",
        needs_eab: false,
        caa: &["letsencrypt.org"],
    },
    KnownCa {
        name: "zerossl",
        directory: "https://acme.zerossl.com/v2/DV90",
        needs_eab: true,
        caa: &["sectigo.com", "trust-provider.com", "usertrust.com", "comodoca.com", "comodo.com"],
    },
    KnownCa {
        name: "google",
        directory: "https://dv.acme-v02.api.pki.goog/directory",
        needs_eab: true,
        caa: &["pki.goog"],
    },
    KnownCa {
        name: "google-staging",
        directory: "https://dv.acme-v02.test-api.pki.goog/directory",
        needs_eab: true,
        caa: &["pki.goog"],
    },
];
