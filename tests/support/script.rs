//! Faults on demand for the HTTP doubles: count requests by kind, hold the n-th, answer in its place, cut its connection.
//!
//! A request is held, or its fault strikes, either before it is carried out or after it was carried out and before its
//! answer is returned. Rules are used up one request at a time, the oldest that fits first.

use std::panic;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::HeaderName;
use axum::response::Response;
use futures_util::{StreamExt, stream};
use tokio::sync::oneshot;

/// A request that does not come within this time will not come.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq)]
pub enum Point {
    Before,
    After,
}

/// What is sent in place of the true answer.
#[derive(Clone, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

enum Action {
    Hold(mpsc::Sender<()>, oneshot::Receiver<()>),
    Answer(Answer),
    Cut,
    /// The answer's body, a byte at a time with this pause between.
    Drip(Duration),
    Rewrite(Box<dyn FnOnce(String) -> String + Send>),
}

struct Rule {
    kind: String,
    skip: usize,
    point: Point,
    action: Action,
}

#[derive(Default)]
struct State {
    calls: Vec<String>,
    rules: Vec<Rule>,
}

/// Rules name a kind of request; `"*"` is every kind, `nth` counts from 1 and from now.
#[derive(Clone, Default)]
pub struct Script(Arc<Mutex<State>>);

impl Script {
    pub fn hold(&self, kind: &str, nth: usize, point: Point) -> Held {
        let (arrive, arrived) = mpsc::channel();
        let (release, released) = oneshot::channel();
        self.add(kind, nth, point, Action::Hold(arrive, released));
        Held { arrived, release }
    }

    pub fn answer(&self, kind: &str, nth: usize, point: Point, answer: Answer) {
        self.add(kind, nth, point, Action::Answer(answer));
    }

    /// The next `times` requests of this kind, from now, get this answer and are not carried out.
    pub fn fail(&self, kind: &str, times: usize, answer: &Answer) {
        (0..times).for_each(|_| self.answer(kind, 1, Point::Before, answer.clone()));
    }

    /// The connection ends without a byte of an answer.
    pub fn cut(&self, kind: &str, nth: usize, point: Point) {
        self.add(kind, nth, point, Action::Cut);
    }

    /// The true answer, so slow that nobody should wait for its end.
    pub fn drip(&self, kind: &str, nth: usize, pause: Duration) {
        self.add(kind, nth, Point::After, Action::Drip(pause));
    }

    /// The true answer with another body.
    pub fn rewrite(&self, kind: &str, nth: usize, body: impl FnOnce(String) -> String + Send + 'static) {
        self.add(kind, nth, Point::After, Action::Rewrite(Box::new(body)));
    }

    pub fn forget_rules(&self) {
        self.lock().rules.clear();
    }

    pub fn count(&self, kind: &str) -> usize {
        self.lock().calls.iter().filter(|call| kind == "*" || *call == kind).count()
    }

    /// The kinds of all requests, in the order of their arrival.
    pub fn calls(&self) -> Vec<String> {
        self.lock().calls.clone()
    }

    /// Carries a request out as the rules will have it. A client that hangs up does not stop what has begun.
    pub async fn run(&self, kind: &str, act: impl Future<Output = Response> + Send + 'static) -> Response {
        let Some((point, action)) = self.next(kind) else { return carry_out(act).await };
        if point == Point::Before {
            return match strike(action, None).await {
                Some(response) => response,
                None => carry_out(act).await,
            };
        }
        let response = carry_out(act).await;
        strike(action, Some(response)).await.expect("an answer that is there stays there")
    }

    fn add(&self, kind: &str, nth: usize, point: Point, action: Action) {
        self.lock().rules.push(Rule { kind: kind.into(), skip: nth - 1, point, action });
    }

    /// The first rule for this kind that is due. The others of the kind that still wait have come one request closer,
    /// as far as this request was not a rule's own.
    fn next(&self, kind: &str) -> Option<(Point, Action)> {
        let mut state = self.lock();
        state.calls.push(kind.into());
        let fits = |rule: &Rule| rule.kind == "*" || rule.kind == kind;
        let due = state.rules.iter().position(|rule| fits(rule) && rule.skip == 0);
        state.rules.iter_mut().filter(|rule| fits(rule) && rule.skip > 0).for_each(|rule| rule.skip -= 1);
        let rule = state.rules.remove(due?);
        Some((rule.point, rule.action))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

async fn carry_out(act: impl Future<Output = Response> + Send + 'static) -> Response {
    tokio::spawn(act).await.expect("the double carries a request out")
}

async fn strike(action: Action, response: Option<Response>) -> Option<Response> {
    match action {
        Action::Hold(arrive, released) => {
            let _ = arrive.send(());
            let _ = released.await; // released, or the test is over
            response
        }
        Action::Answer(answer) => Some(answer.into_response()),
        // Ends the connection's task, and with it the connection, without a message on stderr.
        Action::Cut => panic::resume_unwind(Box::new("cut")),
        Action::Drip(pause) => {
            let (mut parts, body) = response?.into_parts();
            let bytes = to_bytes(body, usize::MAX).await.expect("the double's own body");
            parts.headers.remove("content-length");
            let bytes = stream::iter(bytes).then(move |byte| async move {
                tokio::time::sleep(pause).await;
                Ok::<_, std::convert::Infallible>(vec![byte])
            });
            Some(Response::from_parts(parts, Body::from_stream(bytes)))
        }
        Action::Rewrite(rewrite) => {
            let (mut parts, body) = response?.into_parts();
            let bytes = to_bytes(body, usize::MAX).await.expect("the double's own body");
            parts.headers.remove("content-length");
            Some(Response::from_parts(parts, Body::from(rewrite(String::from_utf8_lossy(&bytes).into_owned()))))
        }
    }
}

impl Answer {
    pub fn new(status: u16, body: &str) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn into_response(self) -> Response {
        let mut response = Response::builder().status(self.status);
        for (name, value) in self.headers {
            response = response.header(HeaderName::from_static(name), value);
        }
        response.body(Body::from(self.body)).expect("a test's answer is valid HTTP")
    }
}

/// A request that waits, or will. Dropping this lets it go on.
pub struct Held {
    arrived: mpsc::Receiver<()>,
    release: oneshot::Sender<()>,
}

impl Held {
    /// Returns when the request is there and is held.
    pub fn wait(&self) {
        self.arrived.recv_timeout(PATIENCE).expect("the request that is to be held comes");
    }

    pub fn release(self) {
        let _ = self.release.send(());
    }
}
