//! What the sessions of one run share, so that no sshd is asked for more logins at once than it takes: one connection
//! per jump host, and a bound on the logins at one address.
//!
//! sshd drops connections at random while ten have not logged in (MaxStartups 10:30:100), whoever they belong to.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::connection::{Connection, Open};
use super::jump_host::JumpHost;
use super::{Endpoint, SshError};
use crate::mutex::lock;

/// Logins at once at one address. Two addresses of one sshd, and somebody else's two, are still below MaxStartups.
const LOGINS: usize = 4;
/// How often a wait checks whether the session was cancelled.
const SLICE: Duration = Duration::from_millis(250);

/// Connects and logs in.
type Opener = fn(&Endpoint, &Connection) -> Result<Open, SshError>;

/// Shared by all endpoints of a run. A login that a jump host refused is not tried again in the same pool.
#[derive(Clone, Default)]
pub struct Pool(Arc<Inner>);

#[derive(Default)]
struct Inner {
    jump_hosts: Mutex<Vec<Arc<JumpHost>>>,
    logins: Mutex<BTreeMap<Vec<SocketAddr>, usize>>,
    ended: Condvar,
}

impl Pool {
    /// The jump host that this endpoint describes; the same for all endpoints that lead to it by the same login.
    pub(super) fn jump_host(&self, jump: &Endpoint, open: Opener) -> Arc<JumpHost> {
        let mut all = lock(&self.0.jump_hosts);
        if let Some(known) = all.iter().find(|known| is_same_login(&known.endpoint, jump)) {
            return Arc::clone(known);
        }
        // The pool has the jump host, and so the jump host must not have the pool.
        let (weak, endpoint) = (Arc::downgrade(&self.0), without_pool(jump));
        let described = endpoint.clone();
        let log_in = move |connection: &Connection| {
            let pool = weak.upgrade().map(Self).unwrap_or_default();
            open(&Endpoint { pool, ..described.clone() }, connection)
        };
        let new = Arc::new(JumpHost::new(endpoint, Box::new(log_in)));
        all.push(Arc::clone(&new));
        new
    }

    /// Waits until a login at this address may begin. `None`: the session was cancelled.
    pub(super) fn login(&self, endpoint: &Endpoint, address: SocketAddr, connection: &Connection) -> Option<Login> {
        // The same private address behind two jump hosts is two hosts.
        let mut path = vec![address];
        let mut jump = endpoint.jump.as_deref();
        while let Some(host) = jump {
            path.push(host.address);
            jump = host.jump.as_deref();
        }
        let mut logins = lock(&self.0.logins);
        while logins.get(&path).is_some_and(|count| *count >= LOGINS) {
            let waited = self.0.ended.wait_timeout(logins, SLICE).unwrap_or_else(PoisonError::into_inner);
            logins = waited.0;
            if !connection.is_wanted() {
                return None;
            }
        }
        *logins.entry(path.clone()).or_default() += 1;
        drop(logins);
        Some(Login { pool: self.clone(), path })
    }
}

impl core::fmt::Debug for Pool {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Pool")
    }
}

/// A login under way.
pub(super) struct Login {
    pool: Pool,
    path: Vec<SocketAddr>,
}

impl Drop for Login {
    fn drop(&mut self) {
        let mut logins = lock(&self.pool.0.logins);
        if let Some(count) = logins.get_mut(&self.path) {
            *count -= 1;
            if *count == 0 {
                logins.remove(&self.path);
            }
        }
        drop(logins);
        self.pool.0.ended.notify_all();
    }
}

fn without_pool(endpoint: &Endpoint) -> Endpoint {
    let jump = endpoint.jump.as_deref().map(|jump| Box::new(without_pool(jump)));
    Endpoint { jump, pool: Pool::default(), ..endpoint.clone() }
}

/// Whether one connection may stand for both.
fn is_same_login(one: &Endpoint, other: &Endpoint) -> bool {
    let jump = match (&one.jump, &other.jump) {
        (None, None) => true,
        (Some(one), Some(other)) => is_same_login(one, other),
        _ => false,
    };
    jump && one.node == other.node
        && (one.address, &one.others, &one.user) == (other.address, &other.others, &other.user)
        && (&one.host_keys, &one.revoked, &one.agent) == (&other.host_keys, &other.revoked, &other.agent)
        && one.identities == other.identities
}
