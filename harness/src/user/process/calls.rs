//! System calls: by number, to name, to what Linux would do.

use super::answer::{Answer, EAFNOSUPPORT, EBADF, EFAULT, EINVAL, ENOSYS, ENOTTY};
use super::bytes::Bytes;
use super::hardware::Hardware;
use super::io::IO_SIZE;
use super::{Ended, Next, PID, Process};

impl Process {
    /// Does what the system call asks for that the CPU has just made: pc is behind it.
    ///
    /// # Errors
    ///
    /// What cannot be emulated, by name.
    pub fn system_call(&mut self, hardware: &mut dyn Hardware) -> Result<Next, String> {
        let number = hardware.register(self.abi.number);
        let arguments = self.abi.arguments.map(|register| hardware.register(register));
        let Some(name) = self.abi.call(number) else {
            return Err(format!("system call {number}: no kernel has it"));
        };
        for spoilt in self.abi.spoilt {
            match spoilt {
                super::abi::Spoilt::Pc(register) => hardware.set_register(*register, hardware.pc()),
                super::abi::Spoilt::Flags(register) => hardware.set_register(*register, hardware.flags()),
            }
        }
        self.calls += 1;
        let answer = self.answer(hardware, name, arguments);
        match answer {
            Answer::Value(value) => hardware.set_register(self.abi.result, value),
            Answer::Restored => {}
            Answer::Wait | Answer::Yield => {
                hardware.set_register(self.abi.result, 0);
                self.switch(hardware).map_err(|reason| format!("{name} (system call {number}): {reason}"))?;
            }
            Answer::Exit(status) => return Ok(Next::Ended(Ended { status: status as u8 })),
            Answer::Stop(reason) => return Err(format!("{name} (system call {number}): {reason}")),
        }
        Ok(match self.deliver_pending(hardware)? {
            Some(delivered) => Next::Delivered(delivered),
            None => Next::Continue,
        })
    }

    fn answer(&mut self, hardware: &mut dyn Hardware, name: &str, arguments: [u64; 6]) -> Answer {
        let [first, second, third, fourth, fifth, ..] = arguments;
        match name {
            "exit" | "exit_group" if self.is_call => Answer::Stop(format!("it ends the program, with status {first}")),
            "clone" | "clone3" | "kill" | "tkill" | "tgkill" if self.is_call => {
                let what = if name.starts_with("clone") { "makes a thread or a process" } else { "sends a signal" };
                Answer::Stop(format!("it {what}, which a function that is called alone cannot: use --process"))
            }
            "exit_group" => Answer::Exit(first),
            "exit" => self.exit_thread(hardware, first),
            "brk" => self.brk(hardware, arguments),
            "mmap" => self.mmap(hardware, arguments),
            "munmap" => self.munmap(hardware, arguments),
            "mprotect" => self.mprotect(hardware, arguments),
            "mremap" => self.mremap(hardware, arguments),
            "madvise" => self.madvise(hardware, arguments),
            "arch_prctl" => Self::arch_prctl(hardware, arguments),
            "set_tid_address" => self.set_tid_address(first),
            // A robust list is looked at when a thread dies with a lock held.
            "set_robust_list" | "membarrier" => Answer::value(0),
            "rseq" => Self::rseq(),
            "clone" => {
                let tls = arguments[self.abi.tls_argument];
                let child_word = arguments[7 - self.abi.tls_argument];
                self.clone_thread(hardware, first, (second, third, child_word, tls))
            }
            "clone3" => self.clone3(hardware, arguments),
            "futex" => self.futex(hardware, arguments),
            "sched_yield" => Answer::Yield,
            "sched_getaffinity" => Self::sched_getaffinity(hardware, arguments),
            "nanosleep" => self.nanosleep(hardware, first, 1, false),
            "clock_nanosleep" => self.nanosleep(hardware, third, first, second & 1 != 0),
            "clock_gettime" => self.clock_gettime(hardware, arguments),
            "clock_getres" => Self::clock_getres(hardware, arguments),
            "gettimeofday" => self.gettimeofday(hardware, arguments),
            "time" => self.time(hardware, arguments),
            "rt_sigaction" => self.rt_sigaction(hardware, arguments),
            "rt_sigprocmask" => self.rt_sigprocmask(hardware, arguments),
            "rt_sigsuspend" => self.rt_sigsuspend(hardware, arguments),
            "rt_sigreturn" => self.rt_sigreturn(hardware),
            "sigaltstack" => self.sigaltstack(hardware, arguments),
            "kill" => self.kill(None, Some(first), second),
            "tkill" => self.kill(Some(first), None, second),
            "tgkill" => self.kill(Some(second), Some(first), third),
            "getpid" => Answer::value(u64::from(PID)),
            "gettid" => Answer::value(self.thread()),
            "getppid" => Answer::value(1),
            "getuid" | "geteuid" | "getgid" | "getegid" | "getpgrp" | "getpgid" | "umask" | "alarm" => Answer::value(0),
            "uname" => self.uname(hardware, first),
            "getrandom" => self.getrandom(hardware, arguments),
            "sysinfo" => Self::sysinfo(hardware, first),
            "prlimit64" => Self::rlimit(hardware, second, third, fourth),
            "getrlimit" => Self::rlimit(hardware, first, 0, second),
            "setrlimit" => Self::rlimit(hardware, first, second, 0),
            "getrusage" | "times" => Self::zeros(hardware, if name == "times" { first } else { second }, name),
            "prctl" => Answer::error(EINVAL),
            // Newer ways to ask, whose absence every C library knows.
            "faccessat2" | "openat2" | "landlock_create_ruleset" => Answer::error(ENOSYS),
            _ if self.abi.absent.contains(&name) => Answer::error(ENOSYS),
            _ if self.abi.idle.contains(&name) => Answer::value(0),
            _ => self.file_call(hardware, name, [first, second, third, fourth, fifth]),
        }
    }

    /// The rest: what is about files.
    fn file_call(&mut self, hardware: &mut dyn Hardware, name: &str, arguments: [u64; 5]) -> Answer {
        let [first, second, third, fourth, ..] = arguments;
        const HERE: u64 = (-100_i64).cast_unsigned(); // AT_FDCWD
        match name {
            "read" => self.read(hardware, first, second, third, None),
            "pread64" => self.read(hardware, first, second, third, Some(fourth)),
            "readv" => self.vector(hardware, [first, second, third], false),
            "write" => self.write(hardware, first, second, third),
            "writev" => self.vector(hardware, [first, second, third], true),
            "open" => self.open(hardware, HERE, first, second),
            "openat" => self.open(hardware, first, second, third),
            "close" => Answer::from(self.files.close(first).then_some(0).ok_or(EBADF)),
            "close_range" => self.close_range(first, second),
            "dup" => self.duplicate(first, 0, None),
            "dup2" | "dup3" => self.duplicate(first, 0, Some(second)),
            "fcntl" => self.fcntl(first, second, third),
            "lseek" => self.seek(first, second, third),
            "fstat" => self.fstat(hardware, first, second),
            "stat" => self.stat(hardware, HERE, [first, second, 0]),
            "lstat" => self.stat(hardware, HERE, [first, second, 0x100]),
            "newfstatat" => self.stat(hardware, first, [second, third, fourth]),
            "statx" => self.statx(hardware, arguments),
            "statfs" | "fstatfs" => Self::zeros(hardware, second, name),
            "access" => self.access(hardware, HERE, first, second),
            "faccessat" => self.access(hardware, first, second, third),
            "readlink" => self.read_link(hardware, HERE, [first, second, third]),
            "readlinkat" => self.read_link(hardware, first, [second, third, fourth]),
            "getcwd" => self.getcwd(hardware, first, second),
            "chdir" => self.chdir(hardware, first),
            "getdents64" => self.getdents(hardware, first, second, third),
            "ioctl" => Answer::error(if self.files.get(first).is_some() { ENOTTY } else { EBADF }),
            "fadvise64" | "fsync" | "fdatasync" => Answer::value(0),
            // A process alone in the world: no network, and nobody to talk to.
            "socket" | "socketpair" => Answer::error(EAFNOSUPPORT),
            "poll" | "ppoll" => Answer::value(second), // everything is ready
            "fork" | "vfork" | "execve" => {
                Answer::Stop("it makes another process, which cannot be followed".to_owned())
            }
            _ => Answer::Stop(format!(
                "it is not emulated (arguments {first:#x}, {second:#x}, {third:#x}); docs/process.md lists what is"
            )),
        }
    }

    /// Zeros for a structure of which nothing is known.
    fn zeros(hardware: &mut dyn Hardware, at: u64, name: &str) -> Answer {
        let size = match name {
            "times" => 32,
            "getrusage" => 144,
            _ => 120,
        };
        if at == 0 || hardware.write(at, &vec![0; size]) { Answer::value(0) } else { Answer::error(EFAULT) }
    }

    fn arch_prctl(hardware: &mut dyn Hardware, arguments: [u64; 6]) -> Answer {
        const ARCH_SET_FS: u64 = 0x1002;
        const ARCH_GET_FS: u64 = 0x1003;
        let [code, address, ..] = arguments;
        match code {
            ARCH_SET_FS => hardware.set_thread_pointer(address),
            ARCH_GET_FS => {
                let value = hardware.thread_pointer();
                if !hardware.write(address, &value.to_le_bytes()) {
                    return Answer::error(EFAULT);
                }
            }
            _ => return Answer::error(EINVAL), // shadow stacks, CPUID faulting
        }
        Answer::value(0)
    }

    fn uname(&self, hardware: &mut dyn Hardware, at: u64) -> Answer {
        const FIELD: usize = 65;
        let mut bytes = vec![0; 6 * FIELD];
        let fields = ["Linux", "localhost", "6.1.0", "#1", self.abi.machine, "(none)"];
        for (field, place) in fields.iter().zip(bytes.chunks_exact_mut(FIELD)) {
            place[..field.len()].copy_from_slice(field.as_bytes());
        }
        if hardware.write(at, &bytes) { Answer::value(0) } else { Answer::error(EFAULT) }
    }

    fn getrandom(&mut self, hardware: &mut dyn Hardware, arguments: [u64; 6]) -> Answer {
        let [at, size, ..] = arguments;
        let size = size.min(IO_SIZE);
        let bytes: Vec<u8> = (0..size).map(|_| self.random.byte()).collect();
        if hardware.write(at, &bytes) { Answer::value(size) } else { Answer::error(EFAULT) }
    }

    fn sysinfo(hardware: &mut dyn Hardware, at: u64) -> Answer {
        let mut bytes = Bytes::new(112);
        bytes.u64(0, 1000);
        bytes.u64(32, 1 << 30);
        bytes.u64(40, 1 << 29);
        bytes.u16(80, 1);
        bytes.u32(104, 1);
        if hardware.write(at, &bytes.0) { Answer::value(0) } else { Answer::error(EFAULT) }
    }

    /// The limit of a resource; none changes.
    fn rlimit(hardware: &mut dyn Hardware, resource: u64, new: u64, old: u64) -> Answer {
        const RLIMIT_STACK: u64 = 3;
        const RLIMIT_NOFILE: u64 = 7;
        const RESOURCES: u64 = 16;
        let stack = super::memory::stack();
        let limits = match resource {
            RLIMIT_STACK => [stack.end - stack.start, u64::MAX],
            RLIMIT_NOFILE => [1024, 1024],
            _ if resource < RESOURCES => [u64::MAX; 2],
            _ => return Answer::error(EINVAL),
        };
        let bytes: Vec<u8> = limits.iter().flat_map(|limit| limit.to_le_bytes()).collect();
        let _ = new;
        if old == 0 || hardware.write(old, &bytes) { Answer::value(0) } else { Answer::error(EFAULT) }
    }
}
