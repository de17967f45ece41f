//! Work beside the passes that has to go on for as long as the service does.

use core::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::context::effect_failure::of_task;
use crate::context::stopped;
use crate::model::Finding;

/// Until it ends by itself, or `stop`. A panic is reported; after `pause` it begins anew.
pub(super) async fn while_it_panics<F: Future<Output = ()> + Send + 'static>(
    begin: impl Fn() -> F,
    report: impl Fn(Finding),
    mut stop: watch::Receiver<bool>,
    pause: Duration,
) {
    loop {
        match tokio::spawn(begin()).await {
            Err(error) if error.is_panic() => report(of_task(&error)),
            _ => return,
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = stopped(&mut stop) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use core::cell::RefCell;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn work_that_panics_is_reported_and_begun_anew_until_the_service_ends() {
        let (begun, said) = (Arc::new(AtomicUsize::new(0)), RefCell::new(Vec::new()));
        let begin = || {
            let begun = Arc::clone(&begun);
            async move { assert!(begun.fetch_add(1, Ordering::Relaxed) >= 2, "out of order") }
        };
        let report = |failure: Finding| said.borrow_mut().push(failure.what);
        let (stop, stopping) = watch::channel(false);
        while_it_panics(begin, report, stopping.clone(), Duration::ZERO).await;
        assert_eq!((begun.load(Ordering::Relaxed), said.borrow().len()), (3, 2), "{said:?}");
        // No pause keeps a service from its end.
        begun.store(0, Ordering::Relaxed);
        stop.send_replace(true);
        while_it_panics(begin, report, stopping, Duration::from_secs(3600)).await;
        assert_eq!((begun.load(Ordering::Relaxed), said.borrow().len()), (1, 3));
    }
}
