//! The process itself: lines in, lines out, within limits. Threads of their own read and write its pipes, so that it cannot hold up
//! whoever waits for it.

use std::io::{self, Read, Write};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Failure;

/// How much is read at once, in bytes.
const CHUNK: usize = 1 << 14;
/// How many chunks wait until they are wanted. Then the process has to wait, too.
const WAITING: usize = 4;
/// How much of its standard error is kept, in bytes.
const KEPT: usize = 1 << 11;
/// The most memory of its own that a process may have, in bytes (`RLIMIT_DATA`: address space that is only reserved does not count).
const MOST_MEMORY: u64 = 8 << 30;
/// How long a process that is no longer needed has to end.
const TO_END: Duration = Duration::from_millis(200);

/// What is left of a walk's limits.
#[derive(Debug)]
pub(super) struct Budget {
    until: Instant,
    time: Duration,
    bytes: u64,
    left: u64,
}

impl Budget {
    pub(super) fn new(time: Duration, bytes: u64) -> Self {
        Self { until: Instant::now() + time, time, bytes, left: bytes }
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Failure> {
        let left = self.left.checked_sub(bytes as u64);
        self.left =
            left.ok_or_else(|| Failure::Timeout(format!("more than {} bytes sent and received", self.bytes)))?;
        Ok(())
    }

    fn remaining(&self) -> Result<Duration, Failure> {
        let left = self.until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero());
        left.ok_or_else(|| Failure::Timeout(format!("no answer in {} ms", self.time.as_millis())))
    }
}

/// Limits what a process, and whoever it starts, may take from the machine; and it leaves no core when it crashes. Where a limit cannot
/// be set, that of this program holds.
fn limit(child: &Child) {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let pid = Pid::from_child(child);
    for (resource, most) in [(Resource::Data, MOST_MEMORY), (Resource::Core, 0)] {
        let _ = prlimit(Some(pid), resource, Rlimit { current: Some(most), maximum: Some(most) });
    }
}

/// A running process. It ends with this.
#[derive(Debug)]
pub(super) struct Connection {
    child: Child,
    /// `None` when its input is closed.
    to: Option<Sender<Vec<u8>>>,
    from: Receiver<Vec<u8>>,
    /// What has been received, and no line has been made of.
    buffer: Vec<u8>,
    /// How much of the buffer has no end of line.
    searched: usize,
    complaints: Arc<Mutex<Vec<u8>>>,
}

impl Connection {
    /// Starts a program, in a process group of its own: a signal of the terminal is for this program alone.
    pub(super) fn start(words: &[String]) -> io::Result<Self> {
        use std::os::unix::process::CommandExt as _;
        let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.process_group(0).spawn()?;
        limit(&child);
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else { return Err(io::ErrorKind::BrokenPipe.into()) };
        let complaints = Arc::new(Mutex::new(Vec::new()));
        let (to, lines) = channel();
        let (chunks, from) = sync_channel(WAITING);
        let kept = Arc::clone(&complaints);
        // They end with the pipes.
        std::thread::spawn(move || write_all(stdin, &lines));
        std::thread::spawn(move || read_all(stdout, &chunks));
        std::thread::spawn(move || keep(stderr, &kept));
        Ok(Self { child, to: Some(to), from, buffer: Vec::new(), searched: 0, complaints })
    }

    /// Sends a line. That the process has ended shows when its answer is wanted.
    pub(super) fn send(&self, mut line: String, budget: &mut Budget) -> Result<(), Failure> {
        budget.spend(line.len() + 1)?;
        line.push('\n');
        if let Some(to) = &self.to {
            let _ = to.send(line.into_bytes());
        }
        Ok(())
    }

    /// The next line, without its end.
    pub(super) fn line(&mut self, budget: &mut Budget) -> Result<Vec<u8>, Failure> {
        loop {
            if let Some(end) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let end = self.searched + end;
                let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
                line.pop();
                self.searched = 0;
                return Ok(line);
            }
            self.searched = self.buffer.len();
            match self.from.recv_timeout(budget.remaining()?) {
                Ok(chunk) => {
                    budget.spend(chunk.len())?;
                    self.buffer.extend(chunk);
                }
                Err(RecvTimeoutError::Timeout) => {} // `remaining` says so
                Err(RecvTimeoutError::Disconnected) => return Err(self.ended(budget)),
            }
        }
    }

    /// Why there is no more.
    fn ended(&mut self, budget: &Budget) -> Failure {
        let mut status = None;
        while status.is_none() && budget.remaining().is_ok() {
            status = self.child.try_wait().ok().flatten();
            std::thread::sleep(Duration::from_millis(1));
        }
        let how = status.map_or("it closed its output".to_owned(), |status| format!("it ended with {status}"));
        let cut = if self.buffer.is_empty() { "" } else { ", in the middle of a line" };
        Failure::Crash(format!("{how}{cut}{}", self.complaint()))
    }

    /// What it has written to standard error last.
    fn complaint(&self) -> String {
        std::thread::sleep(Duration::from_millis(1)); // another thread reads it
        let kept = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&kept);
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        last.map_or(String::new(), |line| format!("; it has written {:?}", line.trim()))
    }

    /// Ends the process, and those that it has started.
    fn kill(&mut self) {
        use rustix::process::{Pid, Signal, kill_process_group};
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // That there is none is what is wanted.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // One that is not in the middle of an answer gets the time to end by itself.
        if let Some(to) = self.to.take().filter(|_| self.buffer.is_empty()) {
            let _ = to.send(b"{\"t\":\"bye\"}\n".to_vec());
            drop(to);
            let until = Instant::now() + TO_END;
            while Instant::now() < until {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        self.kill();
    }
}

fn write_all(mut pipe: ChildStdin, lines: &Receiver<Vec<u8>>) {
    while let Ok(line) = lines.recv() {
        if pipe.write_all(&line).and_then(|()| pipe.flush()).is_err() {
            return;
        }
    }
}

fn read_all(mut pipe: ChildStdout, chunks: &SyncSender<Vec<u8>>) {
    let mut chunk = vec![0; CHUNK];
    loop {
        match pipe.read(&mut chunk) {
            Ok(0) => return,
            Ok(size) => {
                if chunks.send(chunk[..size].to_vec()).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// Keeps the last of what is written.
fn keep(mut pipe: ChildStderr, kept: &Mutex<Vec<u8>>) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(size @ 1..) = pipe.read(&mut chunk) {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(&chunk[..size]);
        let old = kept.len().saturating_sub(KEPT);
        kept.drain(..old);
    }
}
