//! What is assumed where nothing is written. Each has its unit, its reason and its source, here and nowhere else.

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

/// One a minute is a loop and no renewal.
pub const MOST_CERTIFICATES_PER_WEEK: usize = 10_000;

/// Nodes that may refuse a certificate before a rollout ends. One in ten is a fault of these nodes, more is one of the
/// certificate; in a small fleet one refusal is not yet a rule.
pub const STOP_AFTER_PERCENT: usize = 10;

/// When `certd run` makes a pass. Four times a day: RFC 9773 section 4.3 asks for at least two questions about renewal a
/// day, and a node that was down is brought back within hours although nobody looked. Never on the hour: "run at a random
/// second" is Let's Encrypt's advice, since everybody comes on the hour.
pub const SCHEDULE: &str = "17 */6 * * *";

/// How often `certd run` looks at what is served. Handshakes alone; visitors are hurt no longer than this before anything
/// is done about it.
pub const CHECK_EVERY: SignedDuration = SignedDuration::from_mins(5);

/// A handshake with every node so often is still not worth a line in a server's log …
pub const CHECK_AT_MOST_EVERY: SignedDuration = SignedDuration::from_secs(1);
/// … and one that comes more seldom than the schedule's passes is none.
pub const CHECK_AT_LEAST_EVERY: SignedDuration = SignedDuration::from_hours(24);

/// Above this, threads and file descriptors (1,024 by default, `ulimit -n`) are what fails first.
pub const MOST_SESSIONS: usize = 500;

/// Port of SSH (RFC 4253 section 4.1).
pub const SSH_PORT: u16 = 22;

/// The login on a node: files in nginx's folder and a reload are root's.
pub const SSH_USER: &str = "root";

/// The controller's key for its nodes.
pub const IDENTITY_FILE: &str = "/etc/certd/id_ed25519";

/// Host keys of nodes, in OpenSSH's format; apart from `~/.ssh`, which is another person's.
pub const KNOWN_HOSTS: &str = "/etc/certd/known_hosts";

/// Port of HTTPS (RFC 9110 section 4.2.2).
pub const PROBE_PORT: u16 = 443;

/// The same, of an endpoint that is watched: `[probe]` speaks of nodes, which other people's servers are not.
pub const WATCH_PORT: u16 = 443;

/// Port of DNS (RFC 1035 section 4.2).
pub const DNS_PORT: u16 = 53;

/// <https://developers.cloudflare.com/api/>, "Making API calls".
pub const CLOUDFLARE_API: &str = "https://api.cloudflare.com/client/v4";

/// Seconds that resolvers keep a challenge's record. It is of use for minutes, and Cloudflare's least is the same.
pub const UPDATE_TTL: u32 = 60;

/// A day: a record that is kept longer than its order lives helps nobody.
pub const LONGEST_UPDATE_TTL: u32 = 86_400;

/// Seconds for one call of a DNS program: a slow API, asked a few times over.
pub const PROGRAM_TIMEOUT: u32 = 120;

/// Half of what a whole issuance may take.
pub const LONGEST_PROGRAM_TIMEOUT: u32 = 600;
/// Who is asked over HTTPS where nothing comes through port 53: two, since each remembers for half an hour that a record
/// was not there (RFC 2308), and each may be unreachable. Of two operators; both offer it to everybody
/// (<https://developers.cloudflare.com/1.1.1.1/encryption/dns-over-https/>,
/// <https://developers.google.com/speed/public-dns/docs/doh>).
pub const DOH: [&str; 2] = ["https://1.1.1.1/dns-query", "https://dns.google/dns-query"];

/// For a record to be seen on every name server. Cloudflare takes a second or two; slow secondaries refresh within
/// minutes.
pub const SEEN_TIMEOUT: Duration = Duration::from_secs(180);
/// Less leaves no time to find out who is silent (ten seconds), and to ask by other ways.
pub const SHORTEST_SEEN_TIMEOUT: Duration = Duration::from_secs(30);
/// An issuance as a whole ends after twenty minutes.
pub const LONGEST_SEEN_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// Small in a handshake, and what every client of the last ten years takes; also the default of certbot (2.0) and acme.sh.
pub const KEY_TYPE: KeyType = KeyType::EcdsaP256;

/// Nodes that one name may show: a mistake in DNS, or somebody else's answer, must not become a thousand handshakes.
pub const MOST_DISCOVERED: usize = 100;

/// Seconds. With more, a node that was taken out of DNS is asked for half an hour longer; Cloudflare's "auto" is this
/// (<https://developers.cloudflare.com/dns/manage-dns-records/reference/ttl/>).
pub const LONGEST_TTL: u32 = 300;

/// Names in one certificate: Let's Encrypt's limit for its classic profile (<https://letsencrypt.org/docs/rate-limits/>).
pub const MOST_NAMES: usize = 100;

/// Profiles with a limit of their own (<https://letsencrypt.org/docs/profiles/>).
pub const PROFILES_WITH_25_NAMES: [&str; 2] = ["tlsserver", "shortlived"];
pub const FEW_NAMES: usize = 25;

/// Characters of a certificate's name: a folder's name in the store and on nodes, of which file systems take 255 bytes.
pub const LONGEST_NAME: usize = 100;

/// A path on a node: a quarter of Linux's PATH_MAX, since names of our own hang below it.
pub const LONGEST_PATH: usize = 1024;

/// Bytes of one argument of a command; many of them still fit into one message to a node.
pub const LONGEST_ARGUMENT: usize = 4096;

/// Of a key for which `group` is written and `key_mode` is not: who names a group wants it to read. Debian's own `ssl-cert`
/// (ssl-cert(8), `/etc/ssl/private`) has its keys so.
pub const KEY_MODE_OF_A_GROUP: u16 = 0o640;

/// A CA that has a short name in `directory`.
pub struct KnownCa {
    pub name: &'static str,
    pub directory: &'static str,
    /// New accounts need an external account binding (RFC 8555 section 7.3.4).
    pub needs_eab: bool,
    /// What CAA records call it (RFC 8659).
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
