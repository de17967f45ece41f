//! Notifications to the service manager (sd_notify(3)): readiness, watchdog and status. Without a manager, a no-op.
//!
//! Written here instead of taken from a crate: each notification is one datagram, and the environment stays unchanged.
//! Errors are ignored, since they mean that the manager is gone.

use core::time::Duration;
use std::env;
use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use jiff::SignedDuration;
use tokio::time::Interval;

pub struct Notify {
    to: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
    status: String,
}

impl Notify {
    /// From `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    pub fn from_environment() -> Self {
        let ours = env::var("WATCHDOG_PID").is_ok_and(|pid| pid.parse() == Ok(std::process::id()));
        let micros = env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse().ok()).filter(|micros| *micros > 0);
        let ours = ours || env::var_os("WATCHDOG_PID").is_none();
        Self {
            to: env::var_os("NOTIFY_SOCKET").and_then(connected),
            watchdog: micros.filter(|_| ours).map(Duration::from_micros),
            status: String::new(),
        }
    }

    /// How often to send [`Notify::alive`]. sd_watchdog_enabled(3): "It is recommended that a daemon sends a keep-alive
    /// notification message to the service manager every half of the time returned here."
    pub fn pulse(&self) -> Option<Duration> {
        self.watchdog.filter(|_| self.to.is_some()).map(|all| all / 2)
    }

    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// `monotonic`: when the reload began.
    pub fn reloading(&self, monotonic: SignedDuration) {
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic.as_micros()));
    }

    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// One line. An unchanged status is not sent again.
    pub fn status(&mut self, line: String) {
        if line != self.status {
            self.send(&format!("STATUS={line}"));
            self.status = line;
        }
    }

    fn send(&self, text: &str) {
        if let Some((socket, to)) = &self.to {
            let _ = socket.send_to_addr(text.as_bytes(), to);
        }
    }
}

/// A path, or with `@` a name in the abstract namespace. Non-blocking: a hung manager must not hang certd.
fn connected(to: OsString) -> Option<(UnixDatagram, SocketAddr)> {
    let to = match to.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok()?,
        _ => SocketAddr::from_pathname(to).ok()?,
    };
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    Some((socket, to))
}

/// Notifies the watchdog from within the loop, so that a hung loop is noticed.
pub(super) async fn beat(pulse: &mut Option<Interval>, notify: &Notify) {
    match pulse {
        Some(pulse) => {
            pulse.tick().await;
            notify.alive();
        }
        None => core::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_is_sent_once_to_an_abstract_socket_and_a_missing_manager_is_ignored() {
        let name = format!("certd-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        manager.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let to = connected(format!("@{name}").into());
        let mut notify = Notify { to, watchdog: Some(Duration::from_secs(2)), status: String::new() };
        assert_eq!(notify.pulse(), Some(Duration::from_secs(1)));
        notify.status("looking".into());
        notify.status("looking".into());
        notify.reloading(SignedDuration::from_millis(1_500));
        let mut buffer = [0; 100];
        let mut receive = || {
            let length = manager.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        };
        assert_eq!(receive(), "STATUS=looking");
        assert_eq!(receive(), "RELOADING=1\nMONOTONIC_USEC=1500000");
        drop(manager);
        notify.alive();
    }

    #[test]
    fn without_a_manager_nothing_is_sent_and_there_is_no_pulse() {
        let notify = Notify { to: None, watchdog: Some(Duration::from_secs(2)), status: String::new() };
        assert_eq!(notify.pulse(), None);
        notify.ready();
    }
}
