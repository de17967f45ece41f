//! The exit codes of the process. They mean the same for every command; `certd --help` and the README list them.

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    Ok = 0,
    /// certd itself failed.
    Internal = 1,
    /// Usage or configuration error.
    Usage = 2,
    /// Renewal overdue, a valid certificate that is not ours, a node paused or held.
    Warning = 3,
    /// Visitors are hurt now.
    Hurt = 4,
    IssuanceFailed = 5,
    /// A node lacks its desired certificate.
    NotDelivered = 6,
    /// Another certd holds the lock.
    Locked = 7,
}

impl Exit {
    pub fn code(self) -> u8 {
        self as u8
    }

    /// From worst to best when several apply: first what kept anything from running, then who is hurt.
    const PRECEDENCE: [Self; 8] = [
        Self::Usage,
        Self::Internal,
        Self::Locked,
        Self::Hurt,
        Self::NotDelivered,
        Self::IssuanceFailed,
        Self::Warning,
        Self::Ok,
    ];

    /// 0 is the worst.
    pub fn rank(self) -> usize {
        Self::PRECEDENCE.iter().position(|exit| *exit == self).unwrap_or(0)
    }
}

/// The exit code of the process.
pub fn worst(exits: &[Exit]) -> Exit {
    exits.iter().copied().min_by_key(|exit| exit.rank()).unwrap_or(Exit::Ok)
}
