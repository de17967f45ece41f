//! One connection to a jump host, on one thread that owns it and carries the channels of many sessions.
//!
//! libssh2 receives for all channels in a call for any of them, so that after each call any may have become ready.
//! Nothing is read for a session that does not take it: what the peer sends on is bounded by the channel's window.

use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ssh2::{ErrorCode, Session};

use super::connection::{Hop, Open, Progress, Socket};
use super::forward::not_forwarded;
use super::jump_host::{JumpHost, OPEN, Request};
use super::keepalive::{Keepalive, Local, is_outbound, wanted};
use super::pump::{BUFFER, Broken, Pump, is_gone};

pub(super) struct JumpConnection<'a> {
    host: &'a JumpHost,
    // Dropped in this order.
    carried: Vec<Carried>,
    session: Session,
    keepalive: Keepalive,
    socket: Socket,
    /// A byte comes for each request.
    woken: UnixStream,
    wake: Arc<UnixStream>,
    opening: Option<Request>,
    /// The packet that asks for it is half sent.
    asking: bool,
    /// It opens no more channels.
    spent: bool,
    /// Channels opened so far.
    pub(super) opened: u64,
    /// Waits in a row in which no session was left.
    alone: u32,
    /// Whose packet is half sent, or the next one to be served first.
    first: usize,
    buffer: Vec<u8>,
}

/// Waits for a peer that sends, and does not confirm the end of a channel.
const FAREWELL: u32 = 20;

struct Carried {
    pump: Pump,
    local: UnixStream,
    hop: Hop,
    /// The session is gone; the peer has not confirmed the end of the channel.
    closing: bool,
    /// Something may have happened.
    due: bool,
}

enum Step {
    Moved,
    Nothing,
    Closed,
}

impl<'a> JumpConnection<'a> {
    pub(super) fn new(host: &'a JumpHost, open: Open, woken: UnixStream, wake: Arc<UnixStream>) -> Self {
        let Open { session, socket } = open;
        session.set_blocking(false);
        let keepalive = Keepalive::new(&session, socket.clone());
        let buffer = vec![0; BUFFER];
        let (carried, opening, opened, alone, first) = (Vec::new(), None, 0, 0, 0);
        let (asking, spent) = (false, false);
        Self {
            host,
            carried,
            session,
            keepalive,
            socket,
            woken,
            wake,
            opening,
            asking,
            spent,
            opened,
            alone,
            first,
            buffer,
        }
    }

    /// Serves until nobody needs it for a slice.
    pub(super) fn run(&mut self) -> Result<(), Broken> {
        let mut quiet = false;
        loop {
            // libssh2 must finish a packet that it has begun before any other call.
            let mut moved = self.asking && self.open_next()?;
            if !self.asking {
                moved |= self.serve_due()?;
            }
            if !is_outbound(&self.session) {
                moved |= self.open_next()?;
            }
            if self.spent && self.carried.is_empty() {
                return Ok(());
            }
            // What libssh2 received for one channel on behalf of another. A channel that stays due without moving waits
            // for the peer, as during an exchange of new keys.
            let mut due = false;
            for carried in self.carried.iter_mut().filter(|carried| !carried.closing) {
                carried.due |= carried.pump.is_due();
                due |= carried.due;
            }
            if moved || (due && !quiet && !is_outbound(&self.session)) {
                quiet = !moved;
                continue;
            }
            quiet = false;
            // A peer that does not confirm the end of a channel is not waited for, whatever else it sends.
            let nothing = !self.wait()?;
            self.alone = if self.carried.iter_mut().all(Carried::has_gone) { self.alone + 1 } else { 0 };
            if self.alone > 0 && (nothing || self.alone >= FAREWELL) && self.is_needless() {
                return Ok(());
            }
        }
    }

    fn is_needless(&self) -> bool {
        self.spent || (self.opening.is_none() && self.host.retire(&self.wake))
    }

    /// True: something was moved.
    fn serve_due(&mut self) -> Result<bool, Broken> {
        let (mut moved, mut index, mut left) = (false, self.first, self.carried.len());
        while left > 0 {
            left -= 1;
            index = if index < self.carried.len() { index } else { 0 };
            let Some(carried) = self.carried.get_mut(index) else { break };
            if !carried.due {
                index += 1;
                continue;
            }
            match carried.step(&self.session, &mut self.buffer)? {
                Step::Closed => {
                    self.carried.swap_remove(index);
                    moved = true;
                    continue;
                }
                Step::Moved => moved = true,
                Step::Nothing => carried.due = false,
            }
            if is_outbound(&self.session) {
                carried.due = true;
                self.first = index;
                return Ok(false);
            }
            index += 1;
        }
        self.first = index;
        Ok(moved)
    }

    /// Opens the next channel, or goes on with it. True: it was answered.
    fn open_next(&mut self) -> Result<bool, Broken> {
        if !self.asking && self.opening.as_ref().is_some_and(Request::is_abandoned) {
            self.spend();
        }
        self.asking = false;
        if self.opening.is_none() && !self.spent {
            self.opening = self.host.next();
        }
        let Some(request) = &self.opening else { return Ok(false) };
        let (host, port) = (request.to.ip().to_string(), request.to.port());
        match self.session.channel_direct_tcpip(&host, port, None) {
            Err(error) if error.code() == ErrorCode::Session(EAGAIN) => {
                self.asking = is_outbound(&self.session);
                return Ok(false);
            }
            Err(error) if error.code() == ErrorCode::Session(CHANNEL_FAILURE) => {
                let refusal = not_forwarded(&self.host.endpoint.node, &host, port, &error);
                if let Some(request) = self.opening.take() {
                    request.fail(&Arc::new(refusal));
                }
            }
            Err(error) if error.code() == ErrorCode::Session(TIMEOUT) => {
                self.spend();
                return Ok(false);
            }
            Err(error) => return Err(Broken::Session(error.into())),
            Ok(channel) => {
                let Some(Request { mut local, hop, .. }) = self.opening.take() else { return Ok(false) };
                hop.set(Progress::Open);
                self.opened += 1;
                // A pair is empty at first. If the session is gone, the next step finds it out.
                let _ = local.write(&[OPEN]);
                self.carried.push(Carried { pump: Pump::new(channel), local, hop, closing: false, due: true });
            }
        }
        self.host.answered();
        Ok(true)
    }

    /// Nobody waits for the channel that it opens, whose answer libssh2 would take for that of the next one: so it opens
    /// none any more, and holds nobody up.
    fn spend(&mut self) {
        (self.opening, self.spent) = (None, true);
        self.host.withdraw(&self.wake);
    }

    /// False: nothing happened for a slice.
    fn wait(&mut self) -> Result<bool, Broken> {
        let Self { carried, session, keepalive, woken, .. } = self;
        let stuck = is_outbound(session);
        let listens = |carried: &Carried| carried.closing || carried.pump.listens();
        let listen = !stuck && (self.opening.is_some() || carried.iter().any(listens));
        let mut locals = vec![Local { fd: woken.as_fd(), wanted: PollFlags::POLLIN }];
        // While a packet is half sent, nobody else can send, and what is read must be acknowledged.
        let open: Vec<usize> = (0..carried.len()).filter(|index| !stuck && !carried[*index].closing).collect();
        locals.extend(
            open.iter().map(|index| Local { fd: carried[*index].local.as_fd(), wanted: carried[*index].pump.wanted() }),
        );
        let happened = keepalive.wait_slice(session, wanted(session, listen), &locals)?;
        drop(locals);
        let Some((socket, locals)) = happened else {
            carried.iter_mut().filter(|carried| carried.closing).for_each(|carried| carried.due = true);
            return Ok(false);
        };
        let mut bytes = [0; 64];
        while let Ok(1..) = woken.read(&mut bytes) {}
        for (index, events) in open.into_iter().zip(locals.into_iter().skip(1)) {
            let carried = &mut carried[index];
            carried.due |= !events.is_empty();
            carried.closing |= is_gone(events);
        }
        if !socket.is_empty() {
            // One of them receives for all; the others are found due by what they got.
            carried.iter_mut().filter(|carried| carried.closing).for_each(|carried| carried.due = true);
            let reader = carried.iter_mut().find(|carried| !carried.closing && carried.pump.listens());
            reader.into_iter().for_each(|carried| carried.due = true);
        }
        Ok(true)
    }

    /// The connection is lost: ends all sessions, and gives back the request whose channel was being opened.
    pub(super) fn end(self, why: &str) -> (Option<Request>, Arc<UnixStream>) {
        self.carried.iter().for_each(|carried| carried.hop.set(Progress::Lost(why.to_owned())));
        self.socket.shut();
        (self.opening, self.wake)
    }
}

impl Carried {
    /// Also seen where nothing is read or sent for it.
    fn has_gone(&mut self) -> bool {
        let mut local = [PollFd::new(self.local.as_fd(), PollFlags::empty())];
        let ready = poll(&mut local, PollTimeout::ZERO).is_ok_and(|ready| ready > 0);
        let events = local[0].revents().unwrap_or(PollFlags::empty());
        self.closing |= ready && is_gone(events);
        self.closing
    }

    fn step(&mut self, session: &Session, buffer: &mut [u8]) -> Result<Step, Broken> {
        if !self.closing {
            let moved = self.pump.step(session, &self.local, buffer)?;
            self.closing = self.pump.is_over();
            if !self.closing {
                return Ok(if moved { Step::Moved } else { Step::Nothing });
            }
            // The session sees the end at once.
            let _ = self.local.shutdown(std::net::Shutdown::Both);
        }
        Ok(if self.pump.try_close()? { Step::Closed } else { Step::Nothing })
    }
}

// libssh2.h
const TIMEOUT: i32 = -9;
const CHANNEL_FAILURE: i32 = -21;
const EAGAIN: i32 = -37;
