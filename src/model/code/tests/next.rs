//! What helps, as far as the code alone shows, for docs/json.md. A finding's own `next` names the file, the node or the
//! command.

use super::super::Code;

impl Code {
    pub(super) fn next(&self) -> &'static str {
        match self {
            Self::Bug
            | Self::NoRandomness
            | Self::CoreDumps
            | Self::StaysRoot
            | Self::KeyGeneration
            | Self::AcmeClient
            | Self::DnsApiClient
            | Self::NodeNonce
            | Self::SshThread => "look at this machine's limits; else report it with the output of -v",
            Self::Interrupted | Self::StoreOnlyLooking => "run the command again",
            Self::StateDirectory
            | Self::StorePermission
            | Self::StoreNotPrivate
            | Self::StoreNotOurs
            | Self::StoreNotAFolder
            | Self::StoreReadOnly => "run certd as root or as the owner of the state directory, which must be writable",
            Self::StateRoom | Self::StoreFull => "free some space for the state directory",
            Self::StoreIo => "look at the disk of the state directory",
            Self::StateDamaged | Self::StoreTooLong | Self::StoreMissing | Self::StoreDamaged | Self::StoreBadCa => {
                "look at the file; certd makes anew what it can"
            }
            Self::StoreNewerSchema => "use the newer certd, or restore the state directory that was before it",
            Self::SecretUnreadable
            | Self::SecretExposed
            | Self::SecretNotAFile
            | Self::SecretTooLarge
            | Self::SecretEmpty
            | Self::SecretNotText
            | Self::SecretNotOneWord => "put the secret alone into a file that its owner alone can read (mode 0600)",
            Self::IdentityFormat => "name a private key in PEM or in OpenSSH's format (ssh-keygen)",
            Self::FileWritable => "take the right to write from others, for the file and the folders above it",
            Self::ConfigFile | Self::ConfigRoot | Self::WatchRoot => {
                "correct the path in the configuration, or the file"
            }
            Self::NoRoots => "install the distribution's root certificates (ca-certificates)",
            Self::NoRoute => "give this machine IPv6, or name the node by addresses that it reaches",
            Self::NoFiles => "raise the limit of open files (LimitNOFILE= of the unit, ulimit -n)",
            Self::NodeReloadFails => "run the reload command by hand on the node, without a terminal and a shell",
            Self::ClockImplausible | Self::ClockSkew => "set this machine's clock (timedatectl)",
            Self::NodeClock => "set the node's clock (timedatectl)",
            Self::AcmeUnreachable
            | Self::AcmeStatus
            | Self::AcmeBadNonce
            | Self::AcmeSlow
            | Self::AcmeOrderInvalid
            | Self::AcmeOrderShared
            | Self::IssuanceDeadline
            | Self::Crl => "wait: certd tries again by itself",
            Self::AcmeStrangeAnswer | Self::AcmeElsewhere | Self::AcmeProblem => {
                "read the CA's words; see its status page, and the directory in the configuration"
            }
            Self::AcmeRateLimited | Self::LedgerFull => "wait: certd orders as soon as there is room",
            Self::AcmePaused => "follow the CA's link to let it issue again",
            Self::AcmeTerms => "agree to the CA's terms at the link that it gives",
            Self::AcmeAccount | Self::AcmeAccountKey => {
                "move the account's folder below accounts/ away; the next `certd renew` makes another"
            }
            Self::AcmeNoAccount => "`certd account register` or the next `certd renew` makes one",
            Self::AcmeKeyChange => "end it: certd account rollover",
            Self::AcmeEab => "get a new external account key from the CA, and write it into acme.eab",
            Self::AcmeCaa | Self::InventoryCaa => "let the CAA records name this CA",
            Self::AcmeRejectedName => "ask another CA, or take the name out of the certificate",
            Self::AcmeProfile => "write a profile that the CA's directory has",
            Self::AcmeValidation => "see that the TXT record can be read from the internet",
            Self::AcmeUnsupported | Self::AcmeNoChallenge | Self::AcmeNoIssuerName => {
                "ask another CA, or do without what it does not offer"
            }
            Self::AcmeForeignKey => "see whether another certd uses this account for the same names",
            Self::AcmeRejectedCertificate => "see rejected/ in the certificate's folder; certd tries again by itself",
            Self::AcmeUnknownCa => "write the CA into the configuration again",
            Self::AcmeNoStandingRecord => "make the TXT record that is shown, and leave it there",
            Self::AcmeSuperseded | Self::AcmeEndsEarlier | Self::AcmeNoAriId | Self::ChainCaveat => "do nothing",
            Self::NothingToRevoke => "name a generation that is kept",
            Self::DnsApiUnreachable
            | Self::DnsApiLimited
            | Self::DnsLookup
            | Self::DnsServersSilent
            | Self::DnsUpdateUnreachable
            | Self::DnsUpdateSilent
            | Self::DnsProgramTimeout => "wait: certd tries again by itself",
            Self::DnsWildcard => "give the name address records of its own",
            Self::DnsNotSeen => "see whether the zone reaches all of its name servers; certd tries again by itself",
            Self::DnsApiRefused | Self::DnsApiStrangeAnswer | Self::DnsUpdateStrangeAnswer | Self::DnsUpdateFailed => {
                "read the answer; see the provider's status page or the server's log"
            }
            Self::DnsToken | Self::DnsTokenExpires => "make a new token, and write it into dns.token_file",
            Self::DnsTokenFile => "write an API token, and nothing else, into dns.token_file",
            Self::DnsTokenAddress => "let the token's client IP address filter take this machine's address",
            Self::DnsTokenPermission => "let the token read zones and edit DNS records",
            Self::DnsNoZone | Self::DnsSeveralZones => "let the token have the zone, or write dns.zone_id",
            Self::DnsZoneStatus => "see the zone at the provider",
            Self::DnsName | Self::DnsCnameLoop => "correct the name, or its CNAMEs",
            Self::DnsAddresses => "set the records to DNS only; see docs/dns.md for the providers that change them",
            Self::DnsNoServers => "see the zone's NS records and their addresses",
            Self::DnsLongAnswer => "remove what is not needed of the TXT records of that name",
            Self::DnsUpdateKeyFile
            | Self::DnsUpdateUnknownKey
            | Self::DnsUpdateWrongSecret
            | Self::DnsUpdateUnproven => "give certd and the name server the same TSIG key",
            Self::DnsUpdateUnsigned => "see the server's log: it names the cause that the answer does not",
            Self::DnsUpdateClock => "set the clock of this machine and of the name server (timedatectl)",
            Self::DnsUpdateRefused => "let the key change the zone (update-policy, allow-update, acl)",
            Self::DnsUpdateNotPrimary | Self::DnsUpdateOutOfZone | Self::DnsUpdateNoZone => {
                "write the zone, and the server that is its primary, into the configuration"
            }
            Self::DnsProgramStart | Self::DnsProgramFailed => "try dns.command by hand",
            Self::TxtLeft => "do nothing: a later run removes it",
            Self::DiscoverKept => "do nothing, if DNS comes back; else see `dns` in the configuration",
            Self::DiscoverEmpty | Self::DiscoverNothing => {
                "make A or AAAA records with the nodes' addresses, or name them in [[node]]"
            }
            Self::DiscoverRefused | Self::DiscoverTooMany => "remove the records that are no nodes'",
            Self::DiscoverConflict => "give each certificate a path and a `probe.sni` of its own",
            Self::InventoryStranger => "remove the record, or make its address a [[node]]",
            Self::InventoryNodeUnlisted => "make a record with the node's address, or take it out of `nodes`",
            Self::InventoryProxied => "set the records to \"DNS only\", or write `inventory = false`",
            Self::InventoryServersDiffer => "see the zone's transfer between its servers",
            Self::InventoryResolverDiffers => "wait until the resolver's cache has ended",
            Self::InventoryTtl => "set the TTL to 300 or less",
            Self::InventoryCname | Self::InventoryNoAddress => "make A and AAAA records with the nodes' addresses",
            Self::InventoryUnasked => "do nothing, if DNS comes back; else see `dns` in the configuration",
            Self::HealthNoAnswer => "see that the node's server runs, and that this machine reaches it",
            Self::HealthTls => "see what the node serves: certd check",
            Self::HealthStatus | Self::HealthBody => "see the server's log on the node, and what stands behind it",
            Self::HealthBackend => "see the backend, and the way to it; no node needs a change",
            Self::HealthNoNode => "look at this machine's own network, and at a node from elsewhere",
            Self::HealthUnknown => "give this machine a way to the node",
            Self::FailoverWithdrawn => "mend the node: its record comes back by itself; `certd dns status` shows more",
            Self::FailoverAdvised => {
                "mend the node, or remove its record by hand; with failover.mode = \"act\" certd does it"
            }
            Self::FailoverHeld => "read the sentence, which names the guard; `certd dns status` shows all records",
            Self::FailoverFailed => "read the provider's words; certd tries again by itself",
            Self::FailoverUnread => {
                "give the DNS provider's token the zone, or switch failover off for the certificate"
            }
            Self::HealthHeaders => "write a line `Name: value` for each field",
            Self::SshRefused | Self::SshNoAnswer | Self::SshUnreachable | Self::SshHandshake | Self::SshFarSide => {
                "see that sshd runs on the node, and that this machine reaches it"
            }
            Self::SshTurnedAway => "wait, and exempt this machine's address there (PerSourcePenaltyExemptList)",
            Self::SshHostKeyUnknown => "pin the host key: certd trust NODE",
            Self::SshHostKeyChanged | Self::SshHostKeyRevoked => {
                "find out why the key changed; then compare and pin the new one: certd trust NODE"
            }
            Self::SshLogin => "see ssh.user, ssh.identity_files and the node's authorized_keys",
            Self::SshSecondFactor => "exempt the account in sshd_config (Match User, AuthenticationMethods publickey)",
            Self::SshExec | Self::SshEnded | Self::SshNoise => "try the login by hand: ssh NODE true",
            Self::SshClosed | Self::SshDeadline | Self::NodeLocked | Self::NodeChanged | Self::NodeNotTouched => {
                "wait: certd tries again by itself"
            }
            Self::SshForwarding => "let sshd forward there (AllowTcpForwarding, PermitOpen)",
            Self::SshJump => "see the jump host as if it were the node",
            Self::NodeUnresolved => "see the node's address in the configuration",
            Self::NodeForeignNewer => "see whether another certd delivers to the node; then certd deploy --node NODE",
            Self::NodeFenceImplausible => "follow docs/emergency.md: certd node fence",
            Self::NodePath => "put a plain file there, or nothing; or write another path",
            Self::NodeLinks => "write `unsafe_in_place = true`, or let the server see the folder .certd",
            Self::NodeUnfit => "install what the node lacks: a POSIX sh and the usual commands",
            Self::NodeNotPermitted | Self::NodeVersion | Self::NodeReceiver => {
                "bring the receiver up to date: certd node setup NODE"
            }
            Self::NodeGarbled => "see what the login prints on the node",
            Self::NodeRolledBack | Self::NodeUndone | Self::NodeUnverified | Self::NodeFailed | Self::NodeKept => {
                "read the node's words; see its server's log"
            }
            Self::NodeQuic => "restart the node's server; reloading does not help (Caddy 2.6)",
            Self::NodeOldWorkers => "write worker_shutdown_timeout into nginx.conf on the node",
            Self::NodeBrokenBefore | Self::NodeTestFails => "correct the server's configuration on the node",
            Self::NodeServerNotRunning => "start the server on the node",
            Self::NodeRoom => "free some space on the node",
            Self::NodeRenewers => {
                "run `certd node takeover`, or the command that the finding names, which ends that renewal alone"
            }
            Self::NodeLeft => "run `certd node clean`, which removes what no server reads any more",
            Self::NodeKeyExposed => "take the rights from it (chmod go-rwx), or leave that to the next delivery",
            Self::NodeDrifted => "do nothing: the next pass delivers, unless the node has a newer generation",
            Self::NodeRootKey => "remove the receiver's key from root's authorized_keys",
            Self::NodeScript => "do what the finding says, and run the command again",
            Self::ReceiverSetup | Self::ReceiverCut => "read the script's words, and run `certd node setup` again",
            Self::KeyNarrowed => "write [install] owner, group or key_mode, if the server's own user reads it so",
            Self::Rehearsal => "do what the finding says before the day of the renewal",
            Self::HoldEnded => "do nothing: nodes get the stored certificate",
            Self::HoldRefused => "name another generation",
            Self::ImportSource => "give the folder of the other client; the message says which",
            Self::ImportExists => "move the file away, or write the rest by hand",
            Self::Unknown(_) => "see the documentation of that version",
        }
    }
}
