//! Jobs on several threads, with their results in the order of the jobs.
//!
//! No job takes down the others: a panic in one is that one's error. When the user asks to stop, no new job begins, and those that
//! run are waited for only briefly: whatever they are busy with, they end with the program.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::Error;
use crate::interrupt::Interrupt;

/// How long running jobs may take to stop when the user has asked.
const GRACE: Duration = Duration::from_millis(800);

/// How often it is looked whether the user has asked.
const PERIOD: Duration = Duration::from_millis(50);

/// Works on jobs. A result is `None` where the job was not begun, or not finished, before the user asked to stop.
pub fn in_parallel<J, T>(
    jobs: Vec<J>,
    threads: usize,
    interrupt: &Interrupt,
    work: impl Fn(&J) -> Result<T, Error> + Send + Sync + 'static,
) -> Vec<Option<Result<T, Error>>>
where
    J: Send + 'static,
    T: Send + 'static,
{
    let mut results: Vec<Option<Result<T, Error>>> = (0..jobs.len()).map(|_| None).collect();
    interrupt.progress().plan(results.len());
    // Each is gone when it is done, with what only it has kept alive.
    let jobs: Vec<Mutex<Option<J>>> = jobs.into_iter().map(|job| Mutex::new(Some(job))).collect();
    let shared = Arc::new((jobs, AtomicUsize::new(0), work));
    let (sender, receiver) = mpsc::channel();
    for _ in 0..threads.clamp(1, results.len().max(1)) {
        let (shared, sender, interrupt) = (Arc::clone(&shared), sender.clone(), interrupt.clone());
        std::thread::spawn(move || {
            let (jobs, next, work) = &*shared;
            while !interrupt.is_asked()
                && let index = next.fetch_add(1, Ordering::Relaxed)
                && let Some(job) = jobs.get(index)
                && let Some(job) = job.lock().unwrap_or_else(PoisonError::into_inner).take()
            {
                if sender.send((index, guarded(|| work(&job)))).is_err() {
                    break; // no one waits any longer
                }
            }
        });
    }
    drop(sender);
    let mut deadline = None;
    loop {
        match receiver.recv_timeout(PERIOD) {
            Ok((index, result)) => {
                results[index] = Some(result);
                interrupt.progress().done();
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
        if interrupt.is_asked() && Instant::now() > *deadline.get_or_insert_with(|| Instant::now() + GRACE) {
            break;
        }
    }
    results
}

/// Makes a panic an error.
fn guarded<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(Error::Internal(text.unwrap_or_else(|| "it panicked".to_owned())))
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::in_parallel;
    use crate::interrupt::Interrupt;

    #[test]
    fn a_panic_is_the_error_of_its_job_alone() {
        let jobs: Vec<u32> = (0..20).collect();
        let results = in_parallel(jobs, 3, &Interrupt::default(), |job| {
            assert!(*job != 7, "job {job} is bad");
            Ok(*job)
        });
        for (job, result) in (0..).zip(results) {
            match result.expect("it was done") {
                Ok(done) => assert_eq!(done, job),
                Err(error) => assert!(job == 7 && error.to_string().contains("job 7 is bad"), "{job}: {error}"),
            }
        }
    }

    #[test]
    fn a_job_that_does_not_stop_is_left_behind() {
        let interrupt = Interrupt::default();
        interrupt.ask();
        assert!(in_parallel(vec![1, 2], 2, &interrupt, |job| Ok(*job)).iter().all(Option::is_none));

        let (interrupt, start) = (Interrupt::default(), Instant::now());
        let ask = interrupt.clone();
        let results = in_parallel(vec![0, 60, 0], 2, &interrupt, move |seconds| {
            ask.ask();
            std::thread::sleep(Duration::from_secs(*seconds));
            Ok(())
        });
        assert!(start.elapsed() < Duration::from_secs(10));
        assert!(results[1].is_none());
    }
}
